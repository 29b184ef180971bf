"""Gaia RVS mean spectra (DR3 rvs_mean_spectrum): 846-870 nm at rest, over their continuum.

Data model: Gaia DR3 documentation, 20.7.2. The archive normalises in three ways, so that levels differ from
star to star; pixels of too few transits are NaN, at the ends above all.
"""

from functools import partial

from astropy import units as u

from engine.surveys.gaia.sources import SOURCE_ID, from_name, tables_without, usual_names
from engine.surveys.gaia.spectra import Product, count_spectra, read_spectra
from engine.surveys.star_files import Files, with_files
from engine.surveys.survey import Facts, Place
from engine.types import Arm, Grid

RVS = Product(
    arm="rvs",
    grid=Grid(start=8460.0, step=0.1, pixels=2401),
    unit=u.dimensionless_unscaled,
    scale=1.0,
)

GAIA_RVS = with_files(
    Facts(
        name="gaia_rvs",
        title="Gaia RVS mean spectra",
        reference="Katz et al. 2023, A&A 674, A5",
        keys=(SOURCE_ID,),
        star_key="source_id",
        files=usual_names("RvsMeanSpectrum", "RVS"),
        arms=(Arm(name=RVS.arm, grid=RVS.grid),),
        frame="rest",
        medium="vacuum",
        place=Place(remark="its one table"),
    ),
    Files(
        pattern=tables_without("xp_?continuous", "xp_?sampled"),
        example="RVS table, such as RvsMeanSpectrum_000000-003111.csv.gz",
        count=partial(count_spectra, RVS),
        read=partial(read_spectra, RVS),
        from_name=from_name,
    ),
)
