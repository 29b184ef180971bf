"""Gaia XP spectra sampled as in DR3: 336-1020 nm in steps of 2 nm, from sampled or continuous files.

Flux is in units of 1e-18 W m⁻² nm⁻¹, and ivar in their inverse square: in W m⁻² nm⁻¹ an ivar is about 1e33,
and float32 ends at 3e38. Continuous files are sampled by GaiaXPy (Montegriffo et al. 2023, A&A 674, A3) on
the archive's own sampling, with all bases and all correlations of coefficients.
"""

from collections.abc import Mapping

from astropy import units as u

from engine.spec import SurveySpec
from engine.surveys.assemble import Found
from engine.surveys.gaia import sampling, xp
from engine.surveys.gaia.contract import Kind, Table
from engine.surveys.gaia.sources import (
    SOURCE_ID,
    from_name,
    named_source,
    pixels_of,
    tables_without,
    usual_names,
)
from engine.surveys.gaia.spectra import Product, sources_in, spectra_of
from engine.surveys.gaia.tables import opened
from engine.surveys.star_files import Files, with_files
from engine.surveys.store import Store
from engine.surveys.survey import Facts, Place
from engine.types import Arm, Grid

XP_SAMPLED = Product(
    arm="xp",
    grid=Grid(start=3360.0, step=20.0, pixels=343),
    unit=u.Unit("W m-2 nm-1"),
    scale=1e-18,
)

NEEDED: Mapping[str, Kind] = {"source_id": "id", **sampling.NEEDED}


def count_sampled(_spec: SurveySpec, store: Store, name: str) -> int:
    """Sources of a file. One that is named after a source holds that one, and is not opened for it."""
    if named_source(name) is not None:
        return 1
    with opened(store, name) as table:
        return xp.sources_in(table) if _is_continuous(table) else sources_in(XP_SAMPLED, table)


def _is_continuous(table: Table) -> bool:
    return "bp_coefficients" in table.names


def read_sampled(_spec: SurveySpec, store: Store, name: str, start: int, stop: int) -> Found:
    """Sources [start, stop): ids, positions where the file has them, and pixels."""
    with opened(store, name) as table:
        if not _is_continuous(table):
            return spectra_of(XP_SAMPLED, table, name, start, stop)
        values = xp.values_of(table, name, NEEDED, start, stop)
    flux_NP, error_NP = sampling.sample(values, XP_SAMPLED.grid.wave_P)
    return {**xp.identity(values), **pixels_of(XP_SAMPLED.arm, flux_NP, error_NP, XP_SAMPLED.scale)}


GAIA_XP_SAMPLED = with_files(
    Facts(
        name="gaia_xp_sampled",
        title="Gaia XP spectra, sampled",
        reference="Montegriffo et al. 2023, A&A 674, A3",
        keys=(SOURCE_ID,),
        star_key="source_id",
        files=usual_names("XpSampledMeanSpectrum", "XP_SAMPLED"),
        arms=(Arm(name=XP_SAMPLED.arm, grid=XP_SAMPLED.grid),),
        frame="rest",
        medium="vacuum",
        place=Place(remark="its one table"),
    ),
    Files(
        pattern=tables_without("rvs"),
        example="XP table, such as XpSampledMeanSpectrum_000000-003111.csv.gz",
        count=count_sampled,
        read=read_sampled,
        from_name=from_name,
    ),
)
