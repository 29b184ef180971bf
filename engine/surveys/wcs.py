"""One-dimensional FITS spectra: an image whose header says the wavelengths, or a table of arrays.

Headers follow FITS Paper III (Greisen et al. 2006, A&A 446, 747) and IRAF's DC-FLAG; tables the ESO Science
Data Products Standard: one row, each cell an array. One pixel per row is read as well.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ShardCorrupt
from engine.surveys.fits import FitsFile, fill
from engine.surveys.fits_headers import Hdu
from engine.surveys.fits_tables import places, read_table
from engine.types import Arm, Doubles, Waves

# What headers call a wavelength's unit, in small letters, and how many Angstrom it has.
UNITS = {
    "": 1.0,
    "a": 1.0,
    "angstrom": 1.0,
    "angstroms": 1.0,
    "nm": 10.0,
    "nanometer": 10.0,
    "nanometers": 10.0,
    "um": 1e4,
    "micron": 1e4,
    "microns": 1e4,
    "m": 1e10,
}
# Less of an arm than this is another setup of the instrument, or another unit.
LEAST_COVERED = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum:
    """P pixels: wavelengths in Angstrom, flux, inverse variance (0 = missing), mask (0 = good)."""

    wave_P: Doubles
    flux_P: Doubles
    ivar_P: Doubles
    mask_P: npt.NDArray[np.int32]


def number(hdu: Hdu, keyword: str, default: float | None = None) -> float:
    """A finite number of a header, `default` where it is absent; ShardCorrupt when it is anything else."""
    value = hdu.value(keyword, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ShardCorrupt(f"HDU {hdu.name}: {keyword} = {value!r}, expected a finite number")
    return float(value)


def wavelengths(hdu: Hdu, pixels: int) -> Doubles:
    """Angstrom of the pixels of an image, shape (pixels,), by CRVAL1, CDELT1 or CD1_1, CRPIX1, CUNIT1.

    Without CUNIT1 they are taken to be Angstrom; `columns` refuses what then lies outside the arm.
    """
    step = number(hdu, "CDELT1" if "CDELT1" in hdu.cards else "CD1_1")
    first = number(hdu, "CRVAL1")
    offset_P = np.arange(1, pixels + 1) - number(hdu, "CRPIX1", 1.0)
    kind = str(hdu.value("CTYPE1", "")).strip().upper()
    with np.errstate(all="ignore"):
        wave_P = first + step * offset_P
        if hdu.value("DC-FLAG") == 1 or kind == "LOG-LINEAR":
            wave_P = np.power(10.0, wave_P)
        elif kind.endswith("-LOG"):
            wave_P = first * np.exp(offset_P * np.divide(step, first))
        return np.asarray(wave_P * _angstroms(hdu, "CUNIT1"), np.float64)


def is_image(hdu: Hdu) -> bool:
    """Whether an HDU is an image of one dimension, apart from axes of length one."""
    shape = hdu.extent.shape
    return "TFIELDS" not in hdu.cards and bool(shape) and max(shape) == np.prod(shape, dtype=float) > 1


def image(file: FitsFile, hdu: Hdu, limit: int) -> Doubles:
    """The pixels of a one-dimensional image of at most `limit` pixels, as float64."""
    if not is_image(hdu) or not hdu.extent.dtype:
        raise ShardCorrupt(
            f"HDU {hdu.name}: shape {hdu.extent.shape}, expected a plain image of one dimension"
        )
    pixels = max(hdu.extent.shape)
    _refuse_size(hdu, pixels, limit)
    stored = np.empty(pixels, hdu.extent.dtype)
    fill(file.file, hdu.name, hdu.extent.offset, stored)
    values = stored.astype(np.float64)
    return values + 2.0**31 if hdu.extent.dtype == ">u4" else values


def table(file: FitsFile, hdu: Hdu, names: Sequence[str], limit: int) -> dict[str, Doubles]:
    """Those of the columns `names` that a table has, each flattened to float64 of at most `limit` pixels."""
    found = read_table(file.file, hdu, dict.fromkeys(names, "iuf"), 0, hdu.rows, arrays=True)
    for values in found.values():
        _refuse_size(hdu, values.size, limit)
    return {name: values.reshape(-1).astype(np.float64) for name, values in found.items()}


def unit_of(hdu: Hdu, name: str) -> float:
    """Angstrom in one unit of a column of wavelengths."""
    return _angstroms(hdu, f"TUNIT{places(hdu)[name].number}")


def ivar_of(error_P: Doubles) -> Doubles:
    """Inverse variance of 1-sigma errors; 0 where an error is no finite positive number."""
    known_P = np.isfinite(error_P) & (error_P > 0)
    with np.errstate(over="ignore", divide="ignore"):
        return np.where(known_P, 1 / np.square(np.where(known_P, error_P, 1.0)), 0.0)


def columns(arm: Arm, spectrum: Spectrum | None) -> dict[str, npt.NDArray[Any]]:
    """The four columns of one spectrum, shape (1, pixels of the arm).

    None leaves the arm dark: wavelengths spread over it, and every pixel masked.

    ShardCorrupt unless the arrays agree, and the wavelengths are monotonic and cover half of the arm or more.
    """
    assert isinstance(arm.grid, Waves)
    shape = (1, arm.grid.pixels)
    wave = np.linspace([arm.grid.low], [arm.grid.high], arm.grid.pixels, axis=1)
    flux, ivar = np.zeros(shape), np.zeros(shape)
    mask = np.ones(shape, np.int32)
    if spectrum is not None:
        ordered = _checked(arm.name, arm.grid, spectrum)
        count = len(ordered.wave_P)
        wave[0, count:] = np.nan
        wave[0, :count], flux[0, :count] = ordered.wave_P, ordered.flux_P
        ivar[0, :count], mask[0, :count] = ordered.ivar_P, ordered.mask_P
    found = {"wave": wave, "flux": flux, "ivar": ivar, "mask": mask}
    return {f"{kind}_{arm.name}": values for kind, values in found.items()}


def _checked(name: str, waves: Waves, spectrum: Spectrum) -> Spectrum:
    """The spectrum with ascending wavelengths."""
    wave_P = spectrum.wave_P
    sizes = {len(part) for part in (wave_P, spectrum.flux_P, spectrum.ivar_P, spectrum.mask_P)}
    if len(sizes) > 1 or len(wave_P) > waves.pixels:
        raise ShardCorrupt(
            f"{name}: arrays of {sorted(sizes)} pixels, expected one length up to {waves.pixels}"
        )
    steps = np.diff(wave_P)
    if not (np.isfinite(wave_P).all() and ((steps > 0).all() or (steps < 0).all())):
        raise ShardCorrupt(f"{name}: wavelengths that are not finite and monotonic, expected such")
    low, high = sorted((float(wave_P[0]), float(wave_P[-1])))
    if min(high, waves.high) - max(low, waves.low) < LEAST_COVERED * (waves.high - waves.low):
        raise ShardCorrupt(
            f"{name}: wavelengths from {low:g} to {high:g} Angstrom, expected most of {waves.low:g} to "
            f"{waves.high:g}: another setup, or another unit than the header says"
        )
    order = slice(None, None, -1 if wave_P[0] > wave_P[-1] else 1)
    return Spectrum(
        wave_P=wave_P[order],
        flux_P=spectrum.flux_P[order],
        ivar_P=spectrum.ivar_P[order],
        mask_P=spectrum.mask_P[order],
    )


def _refuse_size(hdu: Hdu, pixels: int, limit: int) -> None:
    if not 2 <= pixels <= limit:
        raise ShardCorrupt(f"HDU {hdu.name}: {pixels} pixels, expected 2 to {limit}")


def _angstroms(hdu: Hdu, keyword: str) -> float:
    text = str(hdu.value(keyword, "")).strip()
    if text.lower() not in UNITS:
        known = ", ".join(unit for unit in UNITS if unit)
        raise ShardCorrupt(f"HDU {hdu.name}: {keyword} = {text!r}, expected a unit of length: {known}")
    return UNITS[text.lower()]
