"""Rows of APOGEE's images, read straight from the file; flux, ivar and mask from them."""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import ShardCorrupt
from engine.surveys.apogee.layout import ARMS, GRID, PIXEL_BITS
from engine.surveys.fits_headers import Hdu, walk
from engine.surveys.store import File
from engine.types import Doubles

# Gaps between the chips have an error of 1e10; bad pixels have real ones of up to 1e8.
GAP_ERROR = 1e9
GAP_IVAR = GAP_ERROR**-2
GRID_TOLERANCE = 1e-8
FLOATS = {-32: ">f4", -64: ">f8"}
INTEGERS = {8: "|u1", 16: ">i2", 32: ">i4", 64: ">i8"}


def first_hdus(file: File, count: int) -> list[Hdu]:
    """The first `count` HDUs of a file, no more of it read; ShardCorrupt when there are fewer."""
    hdus = list(islice(walk(file.fetch, file.size), count))
    if len(hdus) < count:
        raise ShardCorrupt(f"{len(hdus)} HDUs, expected at least {count}")
    return hdus


def floats(file: File, hdu: Hdu, what: str, first: int, count: int) -> npt.NDArray[Any]:
    """`count` rows of an image of flux, error or wavelength, from row `first` on."""
    dtype = FLOATS.get(hdu.value("BITPIX"))
    if dtype is None or hdu.extent.dtype != dtype:
        raise ShardCorrupt(f"HDU of {what}: {_kind(hdu)}, expected plain numbers of 32 or 64 bits")
    return _rows(file, hdu, what, np.dtype(dtype), first, count)


def flags(file: File, hdu: Hdu, what: str, first: int, count: int) -> npt.NDArray[np.int64]:
    """`count` rows of a bit mask. An unsigned one (BZERO) differs only in its top bit, which is no one's."""
    dtype = INTEGERS.get(hdu.value("BITPIX"))
    if dtype is None or "TFIELDS" in hdu.cards or hdu.value("BSCALE", 1) != 1:
        raise ShardCorrupt(f"HDU of {what}: {_kind(hdu)}, expected a plain image of integers")
    return _rows(file, hdu, what, np.dtype(dtype), first, count).astype(np.int64)


def _kind(hdu: Hdu) -> str:
    return "a table" if "TFIELDS" in hdu.cards else f"BITPIX {hdu.value('BITPIX')!r}"


def _rows(file: File, hdu: Hdu, what: str, dtype: np.dtype[Any], first: int, count: int) -> npt.NDArray[Any]:
    shape = (count, hdu.extent.shape[-1])
    width = dtype.itemsize * shape[1]
    found = file.fetch(hdu.extent.offset + first * width, count * width)
    if len(found) != count * width:
        raise ShardCorrupt(f"HDU of {what}: ends after {len(found)} of {count * width} bytes; copy it again")
    return np.frombuffer(found, dtype).reshape(shape)


def check_shape(hdu: Hdu, what: str, shape: tuple[int, ...]) -> None:
    """ShardCorrupt unless an image is of this shape."""
    if hdu.extent.shape != shape:
        raise ShardCorrupt(f"HDU of {what}: shape {hdu.extent.shape}, expected {shape}")


def check_grid(values: Mapping[str, Any]) -> None:
    """ShardCorrupt unless header values, by keyword, are those of the apStar grid."""
    wanted = (GRID.start, GRID.step, 1, GRID.pixels)
    # The tolerance is the same at both ends of the grid.
    slack = (GRID_TOLERANCE, GRID_TOLERANCE / GRID.pixels, 0, 0)
    for (keyword, found), expected, tolerance in zip(values.items(), wanted, slack, strict=True):
        if not isinstance(found, int | float) or not abs(found - expected) <= tolerance:
            raise ShardCorrupt(f"{keyword} = {found!r}, expected {expected} (log10 of Angstrom, vacuum)")


def inverse_variance(error: npt.NDArray[Any]) -> Doubles:
    """1 / error², 0 where there is no positive error."""
    wide = error.astype(np.float64)
    positive = wide > 0
    with np.errstate(over="ignore", divide="ignore"):
        return np.divide(1.0, wide**2, out=np.zeros_like(wide), where=positive)


def whole_flags(flags: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Flags of a table, where they may be floats, as integers; what is none counts as a bad pixel."""
    wide = flags.astype(np.float64)
    sound = (wide >= 0) & (wide < 2**53)
    return np.where(sound, wide, 1.0).astype(np.int64)


def columns(
    flux_NP: npt.NDArray[Any], ivar_NP: Doubles, flags_NP: npt.NDArray[np.int64], arm: str = ARMS[0].name
) -> dict[str, Any]:
    """Flux, ivar and mask of an arm. A flux of exactly 0 is a gap as well: some gaps have small errors."""
    present_NP = (flux_NP != 0) & (ivar_NP >= GAP_IVAR)
    return {
        f"flux_{arm}": flux_NP,
        f"ivar_{arm}": np.where(present_NP, ivar_NP, 0.0),
        f"mask_{arm}": (flags_NP & PIXEL_BITS).astype(np.int32),
    }
