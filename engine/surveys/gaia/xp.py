"""Gaia XP continuous mean spectra (DR3 xp_continuous_mean_spectrum): coefficients of BP and of RP.

De Angeli et al. 2023, A&A 674, A2. A source may lack BP or RP; its arm then has no good pixel. Errors are
those of single coefficients: their correlations are strong, and are used only where spectra are sampled.
"""

from collections.abc import Mapping

import numpy as np

from engine.errors import ShardCorrupt
from engine.spec import SurveySpec
from engine.surveys.assemble import Found
from engine.surveys.gaia.contract import Kind, Table, Values
from engine.surveys.gaia.sampling import BANDS, COEFFICIENTS
from engine.surveys.gaia.sources import (
    SOURCE_ID,
    from_name,
    named_source,
    pixels_of,
    refuse_others,
    tables_without,
    usual_names,
)
from engine.surveys.gaia.tables import opened, read_columns, require
from engine.surveys.star_files import Files, with_files
from engine.surveys.store import Store
from engine.surveys.survey import Facts, Place
from engine.types import Arm, Basis

NEEDED: dict[str, Kind] = {
    "source_id": "id",
    **{f"{band}_{what}": COEFFICIENTS for band in BANDS for what in ("coefficients", "coefficient_errors")},
}
POSITION: dict[str, Kind] = {"ra": "number", "dec": "number"}


def count_continuous(_spec: SurveySpec, store: Store, name: str) -> int:
    """Sources of a file. One that is named after a source holds that one, and is not opened for it."""
    if named_source(name) is not None:
        return 1
    with opened(store, name) as table:
        require(table, NEEDED)
        return sources_in(table)


def sources_in(table: Table) -> int:
    """How many sources an open table holds."""
    if (rows := table.rows()) == 0:
        raise ShardCorrupt("no rows, expected a row for each source")
    return rows


def values_of(table: Table, name: str, needed: Mapping[str, Kind], start: int, stop: int) -> Values:
    """Rows of some columns of a continuous table that is open."""
    values = read_columns(table, needed, POSITION, start, stop)
    refuse_others(name, values["source_id"], 1 if named_source(name) is None else sources_in(table))
    return values


def identity(values: Values) -> dict[str, np.ndarray]:
    """Ids, and positions where there are any."""
    position = {key: values[key] for key in POSITION if POSITION.keys() <= values.keys()}
    return {"source_id": values["source_id"], "gaia_source_id": values["source_id"], **position}


def read_continuous(_spec: SurveySpec, store: Store, name: str, start: int, stop: int) -> Found:
    """Sources [start, stop): ids and coefficients, in photo-electrons per second as in the archive."""
    with opened(store, name) as table:
        values = values_of(table, name, NEEDED, start, stop)
    pixels: dict[str, np.ndarray] = {}
    for band in BANDS:
        pixels |= pixels_of(band, values[f"{band}_coefficients"], values[f"{band}_coefficient_errors"])
    return {**identity(values), **pixels}


GAIA_XP = with_files(
    Facts(
        name="gaia_xp",
        title="Gaia XP coefficients",
        reference="De Angeli et al. 2023, A&A 674, A2",
        keys=(SOURCE_ID,),
        star_key="source_id",
        files=usual_names("XpContinuousMeanSpectrum", "XP_CONTINUOUS"),
        arms=tuple(Arm(name=band, grid=Basis(pixels=COEFFICIENTS)) for band in BANDS),
        frame="rest",
        medium="vacuum",
        place=Place(remark="its one table"),
    ),
    Files(
        pattern=tables_without("xp_?sampled", "rvs"),
        example="XP table, such as XpContinuousMeanSpectrum_000000-003111.csv.gz",
        count=count_continuous,
        read=read_continuous,
        from_name=from_name,
    ),
)
