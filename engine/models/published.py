"""The networks of the literature as entries of the table of models.

Where a paper does not print a number (the grids of RAVE, all layers of the hybrid) it is ours, and the
reference says "after".
"""

from functools import partial

from engine.distance import NEEDS as DISTANCE_NEEDS
from engine.distance import WISHES as DISTANCE_WISHES
from engine.models import lithium_cnn, rave_cnn, rvs_hybrid
from engine.models.architecture import Architecture, Scaling
from engine.models.astronn import LABELS as ASTRONN_LABELS
from engine.models.astronn import AstroNNHyper, astronn_labels, build_astronn
from engine.models.astronn_dist import AstroNNDistHyper, build_astronn_dist
from engine.models.astronn_pixels import continuum_pixels
from engine.models.published_flags import ASTRONN_DIST_FLAGS, ASTRONN_FLAGS, RVS_HYBRID_FLAGS
from engine.prepare.absolute_magnitudes import EXTINCTION, MAGNITUDES, NAMES, absolute_magnitudes
from engine.prepare.apogee_continuum import APOGEE_GRID, APOGEE_PARTS, over_apogee_continuum
from engine.prepare.as_given import as_given, parts_outside
from engine.spec import Sampling
from engine.types import Extra, Grid, Input

# The papers print how many pixels, not where they lie: RAVE's own range, from its blue end on.
RAVE_GRID_2019 = Grid(start=8420.0, step=0.5, pixels=723)
RAVE_GRID_2020 = Grid(start=8420.0, step=0.4, pixels=912)
LITHIUM_GRID = Grid(start=6450.5, step=0.05, pixels=7181)
H_ALPHA = (6554.81, 6570.81)
MEMBERS_ALONE = Sampling(draws=0)
MIN_MAX = Scaling(pixels="none", extras="min_max", labels="min_max")

RAVE_2019 = Architecture(
    name="rave_cnn_2019",
    title="RAVE CNN of 2019",
    reference="after Guiglion et al. (poster, 2019), 44,226 parameters; the grid's place is ours",
    input=Input(grid=RAVE_GRID_2019, frame="rest", medium="air", missing="one"),
    hyper=rave_cnn.RaveHyper(),
    normalise=as_given,
    build=rave_cnn.build_2019,
    labels=("teff", "logg", "m_h", "alpha_fe"),
    scaling=MIN_MAX,
    loss="mse",
    sampling=MEMBERS_ALONE,
)

RAVE_2020 = Architecture(
    name="rave_cnn_2020",
    title="RAVE CNN of 2020: spectra, absolute magnitudes, extinction",
    reference="Guiglion et al. (2020, A&A 644, A168), 58,549 parameters; the grid's place is ours",
    input=Input(grid=RAVE_GRID_2020, frame="rest", medium="air", missing="one"),
    hyper=rave_cnn.RaveHyper(),
    normalise=as_given,
    build=rave_cnn.build_2020,
    extras=tuple(Extra(name=name) for name in NAMES),
    beside=absolute_magnitudes,
    needs=("parallax", *MAGNITUDES, EXTINCTION),
    labels=("teff", "logg", "m_h", "fe_h", "alpha_m", "si_fe", "al_fe", "mg_fe", "ni_fe"),
    scaling=MIN_MAX,
    loss="mse",
    sampling=MEMBERS_ALONE,
)

RVS_HYBRID = Architecture(
    name="rvs_hybrid",
    title="Hybrid CNN: Gaia RVS, XP, photometry, parallax",
    reference="after Guiglion et al. (2024, A&A 682, A9); layers, grid and scaling are ours",
    input=Input(grid=rvs_hybrid.RVS_GRID, frame="rest", medium="vacuum", missing="one"),
    hyper=rvs_hybrid.HybridHyper(),
    normalise=as_given,
    build=rvs_hybrid.build_hybrid,
    extras=rvs_hybrid.EXTRAS,
    beside=rvs_hybrid.beside,
    needs=tuple(extra.name for extra in rvs_hybrid.EXTRAS),
    labels=("teff", "logg", "m_h", "alpha_m", "fe_h"),
    scaling=Scaling(pixels="none", extras="mean_std", labels="min_max"),
    loss="mse",
    sampling=MEMBERS_ALONE,
    published=RVS_HYBRID_FLAGS,
)

LITHIUM = Architecture(
    name="lithium_cnn",
    title="Lithium CNN on GIRAFFE HR15N",
    reference="Nepal et al. (2023, A&A 671, A61), 448,134 parameters",
    input=Input(
        grid=LITHIUM_GRID,
        frame="rest",
        medium="air",
        parts=parts_outside(LITHIUM_GRID, (H_ALPHA,)),
        missing="one",
    ),
    hyper=lithium_cnn.LithiumHyper(),
    normalise=as_given,
    build=lithium_cnn.build_lithium,
    labels=("teff", "logg", "fe_h", "a_li"),
    scaling=MIN_MAX,
    loss="mse",
    penalty=lithium_cnn.penalty,
    sampling=MEMBERS_ALONE,
)

_APOGEE = Input(grid=APOGEE_GRID, frame="rest", medium="vacuum", parts=APOGEE_PARTS, missing="one")
# The weights of the public code, whose effect is ivar squared: the published networks have learnt with them.
_over_parabolas = partial(over_apogee_continuum, continuum_P=continuum_pixels(), weighting="astronn")

ASTRONN = Architecture(
    name="astronn",
    title="AstroNN: Teff, logg and 20 abundances from APOGEE",
    reference="Leung & Bovy (2019, MNRAS 483, 3255); SDSS Astra",
    input=_APOGEE,
    hyper=AstroNNHyper(),
    normalise=_over_parabolas,
    build=build_astronn,
    labels=ASTRONN_LABELS,
    labels_of=astronn_labels,
    scaling=Scaling(pixels="centre", labels="mean_std"),
    loss="robust",
    published=ASTRONN_FLAGS,
)

ASTRONN_DIST = Architecture(
    name="astronn_dist",
    title="AstroNNDist: distances from APOGEE",
    reference="Leung & Bovy (2019, MNRAS 489, 2079); SDSS Astra",
    input=_APOGEE,
    hyper=AstroNNDistHyper(),
    normalise=_over_parabolas,
    build=build_astronn_dist,
    needs=DISTANCE_NEEDS,
    wishes=DISTANCE_WISHES,
    labels=("fakemag",),
    scaling=Scaling(pixels="centre", labels="scale"),
    loss="robust",
    distances=True,
    published=ASTRONN_DIST_FLAGS,
)

PUBLISHED = (RAVE_2019, RAVE_2020, RVS_HYBRID, LITHIUM, ASTRONN, ASTRONN_DIST)
