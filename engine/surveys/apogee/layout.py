"""What batches of APOGEE spectra look like, and which bits spoil a pixel or a whole spectrum.

Sources: the SDSS data model (github.com/sdss/datamodel: apStar, apVisit, mwmStar, mwmVisit) and its bits
APOGEE_PIXMASK and APOGEE_STARFLAG (sdss.org/dr17/irspec/apogee-bitmasks).
"""

import pyarrow as pa

from engine.types import Arm, Column, Grid, Waves

GRID = Grid(start=4.179, step=6e-6, pixels=8575, spacing="log10")
ARMS = (Arm(name="apogee", grid=GRID),)

# The detectors in the order of apVisit's rows, from red to blue; what each covers at both observatories. An
# exposure that was not dithered has half as many pixels.
CHIPS = (
    Arm(name="a", grid=Waves(pixels=4096, low=16470.0, high=16960.0)),
    Arm(name="b", grid=Waves(pixels=4096, low=15850.0, high=16440.0)),
    Arm(name="c", grid=Waves(pixels=4096, low=15140.0, high=15815.0)),
)

# BADPIX, CRPIX, SATPIX, UNFIXABLE, BADDARK, BADFLAT, BADERR, NOSKY, SIG_SKYLINE: what astroNN masks. The
# others, persistence above all, warn of pixels that are still of use: masking on any bit leaves 2 % of some
# spectra.
PIXEL_BITS = sum(1 << bit for bit in (0, 1, 2, 3, 4, 5, 6, 7, 12))

# BAD_PIXELS (over 20 %), VERY_BRIGHT_NEIGHBOR (100 times brighter), LOW_SNR (below 5): what the astroNN
# catalogs reject. BAD_RV_COMBINATION and RV_FAIL: the shift to rest is wrong. The rest of STARFLAG warns of
# persistence, a neighbour, broad lines or an old set-up: those spectra are as good as their pixels.
STAR_BITS = sum(1 << bit for bit in (0, 3, 4, 18, 22))

_ID = Column(
    name="apogee_id",
    type=pa.string(),
    ucd="meta.id;meta.main",
    description="APOGEE_ID, as 2M00452143+1634446",
)
_SDSS_ID = Column(
    name="sdss_id",
    type=pa.int64(),
    ucd="meta.id",
    description="Identifier of the star in SDSS-V; NULL before that",
)
_TELESCOPE = Column(
    name="telescope",
    type=pa.string(),
    ucd="instr.tel",
    description="apo25m, lco25m or apo1m; NULL if neither header nor path says",
)
KEYS = (
    _ID,
    _SDSS_ID,
    _TELESCOPE,
    Column(
        name="field",
        type=pa.string(),
        ucd="obs.field",
        description="Field whose visits were combined; NULL where SDSS-V combines those of all fields",
    ),
    Column(
        name="visit",
        type=pa.string(),
        ucd="meta.id;obs.exposure",
        description="Plate (or configuration), MJD and fibre of a visit, as 6561-56587-131; NULL in coadds",
    ),
)
VISIT_KEYS = (
    _ID,
    _SDSS_ID,
    _TELESCOPE,
    Column(
        name="plate",
        type=pa.string(),
        ucd="meta.id",
        description="Plate, or configuration of the fibre robots; NULL at the 1 m telescope",
    ),
    Column(name="mjd", type=pa.int32(), ucd="time.epoch", description="Modified Julian date of the night"),
    Column(name="fiber", type=pa.int32(), ucd="meta.id;instr.fov", description="Fibre, 1 to 300"),
)
