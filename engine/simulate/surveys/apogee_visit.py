"""APOGEE's apVisit files, in the layout of DR16: one night of a star on three detectors, as observed.

Legend: C chips, P pixels of a chip.
"""

from pathlib import Path
from typing import Any, Final

import fitsio
import numpy as np
import pyarrow as pa

from engine.simulate.surveys.apogee import cards, field_of
from engine.simulate.surveys.apogee_light import SIG_SKYLINE, damage, h_magnitude, sky_bits, true_light
from engine.simulate.surveys.driver import OnFile, Recipe, replacing
from engine.simulate.surveys.names import apogee_id
from engine.simulate.surveys.stars import Chunk

_PIXELS: Final = 4096
# Wavelengths (Å, vacuum) of the first and last pixel of the red, the green and the blue chip.
_CHIPS: Final = ((16955.0, 16473.0), (16436.0, 15858.0), (15810.5, 15143.0))
_UNITS: Final = (
    "Flux (10^-17 erg/s/cm^2/Ang)",
    "Flux Error (10^-17 erg/s/cm^2/Ang)",
    "Flag Mask (bitwise)",
    "Wavelength (Ang)",
    "Sky (10^-17 erg/s/cm^2/Ang)",
    "Sky Error (10^-17 erg/s/cm^2/Ang)",
    "Telluric",
    "Telluric Error",
)


def chip_waves() -> np.ndarray:
    """Vacuum wavelengths (Å) [C, P] as the observatory sees them, falling, in steps that shrink a little."""
    bend_P = np.linspace(0, 1, _PIXELS) + 0.05 * np.linspace(0, 1, _PIXELS) * np.linspace(-1, 0, _PIXELS)
    return np.stack([first + (last - first) * bend_P for first, last in _CHIPS])


def _write(folder: Path, chunk: Chunk, on_file: OnFile) -> dict[str, Any]:
    """Write a visit of each star of a chunk."""
    targets, rng = chunk.targets, chunk.rng
    wave_CP = chip_waves()
    barycentric_N = rng.uniform(-28, 28, size=len(chunk))
    light_NP = true_light(chunk, targets.velocity_N - barycentric_N, wave_CP.ravel())
    snr_N = chunk.snr(best=180.0, slope=0.35)
    field, plate, mjd = field_of(chunk), 9000 + chunk.index, 57000 + chunk.index % 2000
    names = [apogee_id(ra, dec) for ra, dec in zip(targets.ra_N, targets.dec_N, strict=True)]
    for star, name in enumerate(names):
        images = _expose(rng, light_NP[star], wave_CP, snr_N[star])
        path = folder / "r12" / "visit" / "apo25m" / field / str(plate) / str(mjd)
        path /= f"apVisit-r12-{plate}-{mjd}-{star + 1:03d}.fits"
        values = _values(chunk, star, float(barycentric_N[star]))
        values |= {"OBJID": name, "PLATE": str(plate), "MJD5": mjd, "SNR": float(snr_N[star])}
        _write_file(path, values, images)
        on_file(path, 1)
    return {
        "apogee_id": names,
        "telescope": ["apo25m"] * len(chunk),
        "plate": [str(plate)] * len(chunk),
        "mjd": [mjd] * len(chunk),
        "fiber": list(range(1, len(chunk) + 1)),
        "snr": snr_N,
        "rv": targets.velocity_N - barycentric_N,
    }


def _expose(rng: np.random.Generator, light_P: np.ndarray, wave_CP: np.ndarray, snr: float) -> dict[str, Any]:
    """The images of a file [C, P] by their units."""
    sky_P = sky_bits(wave_CP.ravel())
    typical = np.median(light_P)
    error_P = np.sqrt(np.maximum(light_P, 0.05 * typical) * typical) / snr
    error_P[(sky_P & SIG_SKYLINE) > 0] *= 12
    flux_P = light_P + error_P * rng.standard_normal(len(light_P))
    mask_P = damage(rng, flux_P, error_P) | sky_P
    # The ends of a chip are not covered by both dithers.
    edge_P = np.tile(np.arange(_PIXELS, dtype=np.float64) % (_PIXELS - 11) < 11, len(_CHIPS))
    flux_P[edge_P], error_P[edge_P], mask_P[edge_P] = 0.0, 1e10, 1
    one, eight = np.ones(wave_CP.shape, np.float32), np.full(wave_CP.shape, 8.0, np.float32)
    images = (
        flux_P.reshape(wave_CP.shape).astype(np.float32),
        error_P.reshape(wave_CP.shape).astype(np.float32),
        mask_P.reshape(wave_CP.shape),
        wave_CP,
        eight,
        eight / 8,
        one,
        one / 1000,
    )
    return dict(zip(_UNITS, images, strict=True))


def _values(chunk: Chunk, star: int, barycentric: float) -> dict[str, Any]:
    velocity, h = float(chunk.targets.velocity_N[star]), float(h_magnitude(chunk)[star])
    return {
        "LOCID": 5000 + chunk.index,
        "TELESCOP": "apo25m",
        "FIBERID": star + 1,
        "EXPTIME": 2002.0,
        "OBJTYPE": "STAR",
        "RA": float(chunk.targets.ra_N[star]),
        "DEC": float(chunk.targets.dec_N[star]),
        "J": h + 0.5,
        "H": h,
        "K": h - 0.1,
        "SURVEY": "apogee2",
        "STARFLAG": 0,
        "BC": barycentric,
        "VTYPE": 2,
        "VRAD": velocity - barycentric,
        "VRADERR": 0.1,
        "VHELIO": velocity,
    }


def _write_file(path: Path, values: dict[str, Any], images: dict[str, Any]) -> None:
    with replacing(path) as temporary, fitsio.FITS(str(temporary), "rw", clobber=True) as fits:
        fits.write_image(None, header=cards(values))
        for unit, image in images.items():
            fits.write_image(image, header=cards({"CTYPE1": "Pixel", "BUNIT": unit}))
        for unit, length in (("Wavelength Coefficients", 14), ("LSF Coefficients", 26)):
            fits.write_image(np.zeros((len(_CHIPS), length)), header=cards({"BUNIT": unit}))
        fits.write_table(np.zeros(1, [("FIBERID", "i2"), ("VHELIO", "f4")]))


APOGEE_VISIT: Final = Recipe(
    name="apogee_visit",
    keys=pa.schema(
        [
            ("apogee_id", pa.string()),
            ("telescope", pa.string()),
            ("plate", pa.string()),
            ("mjd", pa.int32()),
            ("fiber", pa.int32()),
        ]
    ),
    write=_write,
)
