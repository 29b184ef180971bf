"""GALAH DR3: a spectrum in up to four files, <sobject_id><ccd>.fits, one for each camera of HERMES.

Known from the release's documentation (docs.datacentral.org.au/galah/dr3) and one real file: HDU 0 is the
flux without sky, `input_sigma` its relative error, CRVAL1 and CDELT1 in Angstrom; the wavelengths are in air
(IRAF) and corrected for the motion of the Earth, but not for that of the star. 12,181 stars lack a camera.

HDU 4, the normalised spectrum, has the same pixels on a grid that is shifted to rest. The shift is the only
velocity in the file (documented nowhere, seen in the real one: H alpha comes to rest) and becomes `rv`. The
position of the star is in no header (MEANRA is the field's), nor is its Gaia id: join them by sobject_id.
"""

import re
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from engine.errors import ShardCorrupt, ShardError
from engine.spec import SurveySpec
from engine.surveys.fits import opened
from engine.surveys.fits_headers import Hdu, find_hdu
from engine.surveys.star_files import Files, with_files
from engine.surveys.store import Store
from engine.surveys.survey import Facts, Place
from engine.surveys.wcs import Spectrum, columns, image, ivar_of, number, wavelengths
from engine.types import Arm, Column, Waves

PIXELS = 4096
LIGHT = 299792.458
ARMS = tuple(
    Arm(name=f"ccd{ccd}", grid=Waves(pixels=PIXELS, low=low, high=high))
    for ccd, low, high in ((1, 4713, 4903), (2, 5648, 5873), (3, 6478, 6737), (4, 7585, 7887))
)
PATTERN = re.compile(r"(\d{15})([1-4])(\.fits(?:\.gz)?)")
# Two headers that were shifted by one factor agree in it to their last digits.
SAME_SHIFT = 1e-9
FASTEST = 1500.0


def from_name(name: str) -> dict[str, Any]:
    """The sobject_id that a file's name holds."""
    return {"sobject_id": int(PurePosixPath(name).name[:15])}


def together(name: str) -> str:
    """Folder and sobject_id, which the files of one spectrum share."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name[:15]))


def read(_spec: SurveySpec, store: Store, name: str, _start: int, _stop: int) -> dict[str, Any]:
    """The one row of the files of a spectrum; a camera without a file has no pixels."""
    path = PurePosixPath(name)
    found: dict[str, Any] = {}
    velocities: list[float] = []
    for ccd, arm in enumerate(ARMS, start=1):
        beside = str(path.with_name(PATTERN.sub(rf"\g<1>{ccd}\g<3>", path.name)))
        spectrum, velocity = _read_camera(store, name) if beside == name else _camera_beside(store, beside)
        found |= columns(arm, spectrum)
        velocities += [] if velocity is None else [velocity]
    rv = float(np.median(velocities)) if velocities else None
    ids = {key: [value] for key, value in from_name(name).items()}
    return {**ids, **found, "rv": [rv], "rv_source": [None if rv is None else "header"]}


def _camera_beside(store: Store, name: str) -> tuple[Spectrum | None, float | None]:
    """A camera beside the one that has the row, (None, None) where it has no file."""
    if not store.stamp(name):
        return None, None
    try:
        return _read_camera(store, name)
    except ShardError as error:
        raise type(error)(f"{PurePosixPath(name).name}: {error}") from error


def _read_camera(store: Store, name: str) -> tuple[Spectrum, float | None]:
    with opened(store, name) as file:
        hdus = list(file.walk())
        flux_P = image(file, hdus[0], PIXELS)
        relative_P = image(file, find_hdu(hdus, "INPUT_SIGMA"), PIXELS)
    if len(relative_P) != len(flux_P):
        raise ShardCorrupt(f"HDU INPUT_SIGMA: {len(relative_P)} pixels, expected {len(flux_P)} as in HDU 0")
    spectrum = Spectrum(
        wave_P=wavelengths(hdus[0], len(flux_P)),
        flux_P=flux_P,
        ivar_P=ivar_of(relative_P * np.abs(flux_P)),
        mask_P=np.zeros(len(flux_P), np.int32),
    )
    return spectrum, _velocity(hdus)


def _velocity(hdus: list[Hdu]) -> float | None:
    """km/s between the grid of the flux and that of the normalised flux, where one factor explains it."""
    if len(hdus) < 5 or not {"CRVAL1", "CDELT1"} <= hdus[4].cards.keys():
        return None
    observed, rest = hdus[0], hdus[4]
    factors = [number(rest, key) / (number(observed, key) or np.nan) for key in ("CRVAL1", "CDELT1")]
    if factors[0] == 1 or not abs(factors[0] - factors[1]) < SAME_SHIFT:
        return None
    velocity = LIGHT * (1 - factors[0])
    return velocity if abs(velocity) < FASTEST else None


FILES = Files(
    pattern=PATTERN,
    example="1312160026010033.fits (sobject_id and camera)",
    count=1,
    read=read,
    from_name=from_name,
    together=together,
)

GALAH = with_files(
    Facts(
        name="galah",
        title="GALAH DR3 spectra",
        reference="Buder et al. 2021, MNRAS 506, 150; Kos et al. 2017, MNRAS 464, 1259",
        keys=(
            Column(
                name="sobject_id",
                type=pa.int64(),
                ucd="meta.id;meta.main",
                description="GALAH observation: date, run, combination, fibre",
            ),
        ),
        star_key="sobject_id",
        files=tuple(f"131216002601003{ccd}.fits" for ccd in (1, 2, 3, 4)),
        arms=ARMS,
        frame="observed",
        medium="air",
        place=Place(hdus=("0", "INPUT_SIGMA"), remark="one spectrum; other cameras are files beside it"),
    ),
    FILES,
)
