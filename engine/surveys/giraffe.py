"""GIRAFFE HR15N (6470 to 6790 Angstrom, R about 19,200): one spectrum of one star per file.

Formats: ESO's archive (Science Data Products Standard: a table of one row with WAVE, FLUX, ERR, QUAL), or an
image with its wavelengths in the header and its errors in a second one. Wavelengths are in air; in nm or
Angstrom as the header says. Errors come from the table or the second HDU (1 sigma, or inverse variance where
its name says so), else from the header's SNR, as one error for all pixels.

The frame is that of the barycentre. A file that says SPECSYS = TOPOCENT is corrected with its RA, DEC,
MJD-OBS and EXPTIME, by astropy, as seen from Paranal. Not seen: a real file of this kind.
"""

import re
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy.coordinates import EarthLocation, SkyCoord
from astropy.time import Time, TimeDelta
from astropy.utils import iers

from engine.errors import ShardCorrupt
from engine.spec import SurveySpec
from engine.surveys.fits import FitsFile, opened
from engine.surveys.fits_headers import Hdu
from engine.surveys.star_files import Files, with_files
from engine.surveys.store import Store
from engine.surveys.survey import Facts, Place
from engine.surveys.wcs import (
    Spectrum,
    columns,
    image,
    is_image,
    ivar_of,
    number,
    table,
    unit_of,
    wavelengths,
)
from engine.types import Arm, Column, Doubles, Waves

WAVES = Waves(pixels=8192, low=6470.0, high=6790.0)
ARM = Arm(name="hr15n", grid=WAVES)

WAVE_NAMES = ("WAVE", "WAVELENGTH", "LAMBDA")
# Flux with its own error. ESO's *_REDUCED are counts, beside a flux that was calibrated.
PAIRS = (("FLUX", "ERR"), ("FLUX", "ERROR"), ("FLUX_REDUCED", "ERR_REDUCED"))
NAMES = (*WAVE_NAMES, *dict.fromkeys(name for pair in PAIRS for name in pair), "IVAR", "QUAL")
# IRAF's rv package writes VHELIO.
VELOCITY_KEYS = ("VHELIO", "VRAD", "RV")
FASTEST = 1500.0

PARANAL = EarthLocation.from_geodetic(lon=-70.4032 * u.deg, lat=-24.6253 * u.deg, height=2648 * u.m)
FIRST_LIGHT, FAR_FUTURE = 50_000.0, 90_000.0
NO_ERRORS = (
    "no errors: expected a column ERR or IVAR, a second HDU of the same length, or SNR in the header; "
    "add one of them to the file"
)


def from_name(name: str) -> dict[str, Any]:
    """The path of a file without its ending, which is its key."""
    return {"file": re.sub(r"\.fits(\.gz)?$", "", name)}


def read(_spec: SurveySpec, store: Store, name: str, _start: int, _stop: int) -> dict[str, Any]:
    """The one row of a file."""
    with opened(store, name) as file:
        hdus = list(file.walk())
        spectrum = _spectrum(file, hdus)
    primary = hdus[0]
    ra, dec = _within(primary, "RA", 0, 360), _within(primary, "DEC", -90, 90)
    rv = next(
        (v for key in VELOCITY_KEYS if (v := _within(primary, key, -FASTEST, FASTEST)) is not None), None
    )
    stem = PurePosixPath(from_name(name)["file"]).name
    return {
        "object": [str(primary.value("OBJECT", "")).strip() or stem],
        "file": [from_name(name)["file"]],
        "ra": [ra],
        "dec": [dec],
        "position_source": [None if ra is None or dec is None else "survey"],
        "rv": [rv],
        "rv_source": [None if rv is None else "header"],
        **columns(ARM, spectrum),
    }


def _spectrum(file: FitsFile, hdus: list[Hdu]) -> Spectrum:
    for hdu in hdus:
        if "TFIELDS" in hdu.cards and "ZIMAGE" not in hdu.cards:
            found = table(file, hdu, NAMES, WAVES.pixels)
            if any(name in found for name in WAVE_NAMES):
                return _from_table(hdus[0], hdu, found)
    images = [hdu for hdu in hdus if is_image(hdu)]
    if not images:
        raise ShardCorrupt("no spectrum: expected a table with WAVE, FLUX and ERR, or an image with CRVAL1")
    return _from_images(file, hdus[0], images)


def _from_table(primary: Hdu, hdu: Hdu, found: dict[str, Doubles]) -> Spectrum:
    wave = next(name for name in WAVE_NAMES if name in found)
    flux, error = next((pair for pair in PAIRS if set(pair) <= found.keys()), ("FLUX", ""))
    if flux not in found:
        raise ShardCorrupt(f"HDU {hdu.name}: columns {', '.join(found)}; expected {wave}, FLUX and ERR")
    errors = {"ivar": found.get("IVAR"), "error": found.get(error)}
    return Spectrum(
        wave_P=found[wave] * unit_of(hdu, wave) * _towards_barycentre(primary),
        flux_P=found[flux],
        ivar_P=_ivar(primary, found[flux], **errors),
        mask_P=(found.get("QUAL", np.zeros(len(found[flux]))) != 0).astype(np.int32),
    )


def _from_images(file: FitsFile, primary: Hdu, images: list[Hdu]) -> Spectrum:
    science = images[0]
    flux_P = image(file, science, WAVES.pixels)
    second = next((hdu for hdu in images[1:] if hdu.extent.shape == science.extent.shape), None)
    errors: dict[str, Doubles] = {}
    if second is not None:
        kind = "ivar" if re.match("IVAR|INV|WEIGHT", second.name) else "error"
        errors[kind] = image(file, second, WAVES.pixels)
    return Spectrum(
        wave_P=wavelengths(science, len(flux_P)) * _towards_barycentre(primary),
        flux_P=flux_P,
        ivar_P=_ivar(primary, flux_P, **errors),
        mask_P=np.zeros(len(flux_P), np.int32),
    )


def _ivar(
    primary: Hdu, flux_P: Doubles, ivar: Doubles | None = None, error: Doubles | None = None
) -> Doubles:
    """Inverse variance from what there is; from the SNR of the header as (SNR / median flux)²."""
    if ivar is not None:
        return ivar
    if error is not None:
        return ivar_of(error)
    snr = number(primary, "SNR", 0.0)
    good_P = np.isfinite(flux_P) & (flux_P > 0)
    if snr <= 0 or not good_P.any():
        raise ShardCorrupt(NO_ERRORS)
    return np.full(len(flux_P), (snr / np.median(flux_P[good_P])) ** 2)


def _within(primary: Hdu, keyword: str, low: float, high: float) -> float | None:
    """A number of the primary header, None where it is absent, text, or beyond what it can be."""
    value = primary.value(keyword)
    known = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    return float(value) if known else None


def _towards_barycentre(primary: Hdu) -> float:
    """What wavelengths are to be multiplied with, to be those seen from the barycentre."""
    if not str(primary.value("SPECSYS", "")).strip().upper().startswith("TOPO"):
        return 1.0
    ra, dec = _within(primary, "RA", 0, 360), _within(primary, "DEC", -90, 90)
    start, seconds = _within(primary, "MJD-OBS", FIRST_LIGHT, FAR_FUTURE), _within(primary, "EXPTIME", 0, 1e5)
    if ra is None or dec is None or start is None:
        raise ShardCorrupt("SPECSYS = TOPOCENT, expected RA, DEC and MJD-OBS with it, or SPECSYS = BARYCENT")
    middle = Time(start, format="mjd") + TimeDelta((seconds or 0.0) / 2, format="sec")
    # A table of the Earth's rotation that is years old moves the result by less than 1 m/s.
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
    ):
        seen = SkyCoord(ra, dec, unit="deg").radial_velocity_correction(obstime=middle, location=PARANAL)
    return 1 + float(seen.to_value("km/s")) / 299792.458


FILES = Files(
    pattern=re.compile(r".+\.fits(\.gz)?"),
    example="*.fits",
    count=1,
    read=read,
    from_name=from_name,
)

GIRAFFE = with_files(
    Facts(
        name="giraffe",
        title="VLT GIRAFFE spectra, setup HR15N",
        reference="ESO Science Data Products Standard; Gilmore et al. 2022, A&A 666, A120",
        keys=(
            Column(
                name="object",
                type=pa.string(),
                ucd="meta.id;meta.main",
                description="Name of the star, OBJECT in the header; else that of the file",
            ),
            Column(
                name="file",
                type=pa.string(),
                ucd="meta.id;meta.file",
                description="Path of the spectrum's file without its ending",
            ),
        ),
        star_key="object",
        files=("star.fits",),
        arms=(ARM,),
        frame="observed",
        medium="air",
        place=Place(remark="its first table with wavelengths, else its first image"),
    ),
    FILES,
)
