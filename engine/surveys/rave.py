"""RAVE DR6: one spectrum of the calcium triplet per file, RAVE_<rave_obs_id>.fits.

Known from Steinmetz et al. 2020 (AJ 160, 82) and from readers of the published files: an empty primary HDU
with ROI, the rave_obs_id; the images SPECTRUM (continuum-normalised) and ERROR (relative: 0.01 is 1 % of the
flux), linear in Angstrom with a start, step and length of their own; stellar features at zero velocity.
Assumed, since no header says it: wavelengths in air. There is no position and no Gaia id in a file; both, and
the velocity that was taken out, come by joining the DR6 tables on rave_obs_id.
"""

import re
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from engine.errors import ShardCorrupt
from engine.spec import SurveySpec
from engine.surveys.fits import opened
from engine.surveys.fits_headers import find_hdu
from engine.surveys.star_files import Files, with_files
from engine.surveys.store import Store
from engine.surveys.survey import Facts, Place
from engine.surveys.wcs import Spectrum, columns, image, ivar_of, wavelengths
from engine.types import Arm, Column, Waves

# 6dF's detector has about 1050 columns; how many of them a file holds varies.
WAVES = Waves(pixels=2048, low=8410.0, high=8795.0)
ARM = Arm(name="cat", grid=WAVES)


def from_name(name: str) -> dict[str, Any]:
    """The rave_obs_id that a file's name holds."""
    return {"rave_obs_id": PurePosixPath(name).name.split(".")[0].removeprefix("RAVE_")}


def read(_spec: SurveySpec, store: Store, name: str, _start: int, _stop: int) -> dict[str, Any]:
    """The one row of a file."""
    with opened(store, name) as file:
        hdus = list(file.walk())
        science = find_hdu(hdus, "SPECTRUM")
        flux_P = image(file, science, WAVES.pixels)
        relative_P = image(file, find_hdu(hdus, "ERROR"), WAVES.pixels)
    if len(relative_P) != len(flux_P):
        raise ShardCorrupt(f"HDU ERROR: {len(relative_P)} pixels, expected the {len(flux_P)} of SPECTRUM")
    spectrum = Spectrum(
        wave_P=wavelengths(science, len(flux_P)),
        flux_P=flux_P,
        ivar_P=ivar_of(relative_P * np.abs(flux_P)),
        mask_P=np.zeros(len(flux_P), np.int32),
    )
    roi = str(hdus[0].value("ROI", "")).strip()
    return {"rave_obs_id": [roi or from_name(name)["rave_obs_id"]], **columns(ARM, spectrum)}


FILES = Files(
    pattern=re.compile(r"RAVE_\w+\.fits(\.gz)?"),
    example="RAVE_20100313_0823m14_113.fits",
    count=1,
    read=read,
    from_name=from_name,
)

RAVE = with_files(
    Facts(
        name="rave",
        title="RAVE DR6 spectra",
        reference="Steinmetz et al. 2020, AJ 160, 82",
        keys=(
            Column(
                name="rave_obs_id",
                type=pa.string(),
                ucd="meta.id;meta.main",
                description="RAVE observation: date, field, fibre",
            ),
        ),
        star_key="rave_obs_id",
        files=("RAVE_20030411_1507m23_001.fits",),
        arms=(ARM,),
        frame="rest",
        medium="air",
        place=Place(hdus=("SPECTRUM", "ERROR"), remark="one spectrum; its name is in HDU 0"),
    ),
    FILES,
)
