"""What FITS surveys share: files, and rows of images as native arrays. (Tables: fits_tables.py.)

Plain images are read with `preadv` at the offsets that the header walk found, several times
faster than through a FITS library; compressed images go through fitsio. A gzipped file is inflated once,
whole, into a temporary file and then read like any other.

Errors from here name the HDU and what was expected; `named(path)` around the calls adds the file.
"""

import gzip
import os
import shutil
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import numpy.typing as npt

from engine.errors import ShardCorrupt, ShardError, ShardUnavailable
from engine.surveys.fits_headers import Hdu, walk
from engine.types import Extent

# Measured: pieces that stay in the second-level cache while they are swapped halve the time of a read.
PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class FitsFile:
    """An open file. `path` is where its plain bytes are: for a gzipped file, the inflated copy."""

    path: Path
    descriptor: int
    size: int

    def walk(self) -> Iterator[Hdu]:
        """The HDUs in file order; ShardCorrupt at the first that is not whole."""
        return walk(lambda offset, count: os.pread(self.descriptor, count, offset), self.size)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """ShardErrors from inside with the file's name before their message."""
    try:
        yield
    except ShardError as error:
        raise type(error)(f"{path}: {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[FitsFile]:
    """A file, open for direct reads; an OSError becomes ShardUnavailable, broken gzip ShardCorrupt."""
    try:
        inflated = _inflate(path, path.stat().st_mtime_ns) if path.suffix == ".gz" else None
        plain = Path(inflated.name) if inflated else path
        descriptor = os.open(plain, os.O_RDONLY)
        try:
            yield FitsFile(path=plain, descriptor=descriptor, size=os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise ShardUnavailable(f"{error.strerror or error}; expected a readable FITS file") from error


@lru_cache(maxsize=1)
def _inflate(path: Path, _mtime_ns: int) -> Any:
    """A temporary file with the plain bytes, kept for the next row range of the same file."""
    plain = tempfile.NamedTemporaryFile(prefix="abundant-", suffix=".fits")  # noqa: SIM115
    with gunzipped(path) as packed:
        shutil.copyfileobj(packed, plain, PIECE_BYTES)
    plain.flush()
    return plain


@contextmanager
def gunzipped(path: Path) -> Iterator[gzip.GzipFile]:
    """The plain bytes of a gzipped file as a stream; errors as in `opened`."""
    warn_of_gzip()
    try:
        with gzip.open(path) as stream:
            yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ShardCorrupt(f"broken gzip: {error}; expected a whole FITS file") from error
    except OSError as error:
        raise ShardUnavailable(f"{error.strerror or error}; expected a readable FITS file") from error


@cache
def warn_of_gzip() -> None:
    """Say once per process what gzip costs."""
    warnings.warn("gzipped FITS files read about 70 times slower: gunzip them once", stacklevel=2)


def read_rows(file: FitsFile, name: str, extent: Extent, rows: npt.NDArray[np.int64], out: Any) -> None:
    """Fill `out` (len(rows), pixels), native float32 or int32, with ascending rows of an image.

    Unsigned masks keep their 32 bits. ShardCorrupt when the image cannot be decoded or ends too early.
    """
    if not extent.dtype:
        _decode_rows(file, name, rows, out)
        return
    stored, pixels = np.dtype(extent.dtype), extent.shape[1]
    piece = np.empty((max(1, PIECE_BYTES // (stored.itemsize * pixels)), pixels), stored)
    first = 0
    while first < len(rows):
        start = int(rows[first])
        last = int(np.searchsorted(rows, start + len(piece)))
        taken = piece[: int(rows[last - 1]) + 1 - start]
        fill(file, name, extent.offset + start * stored.itemsize * pixels, taken)
        contiguous = len(taken) == last - first
        np.copyto(out[first:last], taken if contiguous else taken[rows[first:last] - start], casting="unsafe")
        first = last
    if stored == ">u4":
        # Taking BZERO = 2**31 back is the same as turning the top bit over.
        out ^= np.int32(-(2**31))


def fill(file: FitsFile, name: str, offset: int, array: Any) -> None:
    """Fill an array with the file's bytes from `offset` on; a read may come in parts."""
    view = memoryview(array.reshape(-1).view(np.uint8))
    done = 0
    while done < len(view):
        count = os.preadv(file.descriptor, [view[done:]], offset + done)
        if count == 0:
            raise ShardCorrupt(f"HDU {name}: ends at byte {offset + done}, expected {len(view) - done} more")
        done += count


def _decode_rows(file: FitsFile, name: str, rows: npt.NDArray[np.int64], out: Any) -> None:
    first, last = int(rows[0]), int(rows[-1]) + 1
    try:
        with fitsio.FITS(str(file.path)) as library:
            image = library[name][first:last, :]
        np.copyto(out, image[rows - first], casting="unsafe")
    except (OSError, ValueError) as error:
        raise ShardCorrupt(f"HDU {name}: expected an image that fitsio can decode: {error}") from error
