"""What a batch of DESI spectra looks like, and the image HDUs it comes from."""

import pyarrow as pa

from engine.columns import spectra_columns
from engine.types import Arm, Column, Grid

ARMS = (
    Arm(name="b", grid=Grid(start=3600.0, step=0.8, pixels=2751)),
    Arm(name="r", grid=Grid(start=5760.0, step=0.8, pixels=2326)),
    Arm(name="z", grid=Grid(start=7520.0, step=0.8, pixels=2881)),
)

# The image HDU of each array column, and its arm.
IMAGES = {
    f"{kind}_{arm.name}": (f"{arm.name.upper()}_{kind.upper()}", arm)
    for arm in ARMS
    for kind in ("flux", "ivar", "mask")
}

KEYS = (
    Column(
        name="survey",
        type=pa.string(),
        ucd="meta.id",
        description="DESI survey: main, sv1, sv2, sv3, special, cmx",
    ),
    Column(
        name="program",
        type=pa.string(),
        ucd="meta.id",
        description="DESI program: dark, bright, backup, other",
    ),
    Column(
        name="healpix",
        type=pa.int32(),
        ucd="pos.healpix",
        description="Nested HEALPix pixel, NSIDE 64; NULL if by tile",
    ),
    Column(name="tileid", type=pa.int32(), ucd="meta.id", description="DESI tile; NULL if by HEALPix pixel"),
    Column(
        name="targetid",
        type=pa.int64(),
        ucd="meta.id;meta.main",
        description="DESI target; negative for stuck fibres",
    ),
    Column(
        name="expid", type=pa.int32(), ucd="meta.id;obs.exposure", description="DESI exposure; NULL in coadds"
    ),
)

COLUMNS = spectra_columns(KEYS, ARMS)
