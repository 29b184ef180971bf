"""What FITS surveys share: files, and rows of images as native arrays. (Tables: fits_tables.py.)

Plain images are read straight into memory at the offsets that the header walk found, several times
faster than through a FITS library, and from an object store as exact ranges of bytes; compressed images
go through astropy. A gzipped file is inflated once, whole, into a temporary file, then read like any other.

Errors from here name the HDU and what was expected; `named(address)` around the calls adds the file.
"""

import gzip
import io
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

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from engine.broken import BROKEN_BYTES
from engine.errors import ShardCorrupt, ShardError
from engine.surveys.fits_headers import Hdu, alone_in_a_file, find_hdu, walk
from engine.surveys.store import File, Folder, Store, stream
from engine.types import Extent

COPIED_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class FitsFile:
    """An open file, inflated if it was gzipped."""

    file: File

    def walk(self) -> Iterator[Hdu]:
        """The HDUs in file order; ShardCorrupt at the first that is not whole."""
        return walk(self.file.fetch, self.file.size)


@contextmanager
def named(address: object) -> Iterator[None]:
    """ShardErrors from inside with the file's address before their message."""
    try:
        yield
    except ShardError as error:
        raise type(error)(f"{address}: {error}") from error


@contextmanager
def opened(store: Store, name: str) -> Iterator[FitsFile]:
    """A file, open for direct reads; ShardUnavailable if it cannot be read, ShardCorrupt for broken gzip."""
    if not name.endswith(".gz"):
        with store.open(name) as file:
            yield FitsFile(file=file)
        return
    plain = Path(_inflate(store, name, store.stamp(name)).name)
    with Folder(plain.parent).open(plain.name) as file:
        yield FitsFile(file=file)


@lru_cache(maxsize=1)
def _inflate(store: Store, name: str, _stamp: str) -> Any:
    """A temporary file with the plain bytes, kept for the next row range of the same file."""
    plain = tempfile.NamedTemporaryFile(prefix="abundant-", suffix=".fits")  # noqa: SIM115
    with gunzipped(store, name) as packed:
        shutil.copyfileobj(packed, plain, COPIED_BYTES)
    plain.flush()
    return plain


@contextmanager
def gunzipped(store: Store, name: str) -> Iterator[gzip.GzipFile]:
    """The plain bytes of a gzipped file as a stream; errors as in `opened`."""
    warn_of_gzip()
    try:
        with store.open(name) as packed, gzip.open(stream(packed)) as plain:
            yield plain
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ShardCorrupt(f"broken gzip: {error}; expected a whole FITS file") from error


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
    most = max(1, file.file.piece_bytes // (stored.itemsize * pixels))
    piece = np.empty((min(most, int(rows[-1] - rows[0]) + 1 if len(rows) else 1), pixels), stored)
    first = 0
    while first < len(rows):
        start = int(rows[first])
        last = int(np.searchsorted(rows, start + len(piece)))
        taken = piece[: int(rows[last - 1]) + 1 - start]
        fill(file.file, name, extent.offset + start * stored.itemsize * pixels, taken)
        contiguous = len(taken) == last - first
        np.copyto(out[first:last], taken if contiguous else taken[rows[first:last] - start], casting="unsafe")
        first = last
    if stored == ">u4":
        # Taking BZERO = 2**31 back is the same as turning the top bit over.
        out ^= np.int32(-(2**31))


def fill(file: File, name: str, offset: int, array: Any) -> None:
    """Fill an array with the file's bytes from `offset` on; ShardCorrupt when it ends before."""
    view = memoryview(array.reshape(-1).view(np.uint8))
    done = file.fill(offset, view)
    if done < len(view):
        raise ShardCorrupt(f"HDU {name}: ends at byte {offset + done}, expected {len(view) - done} more")


def _decode_rows(file: FitsFile, name: str, rows: npt.NDArray[np.int64], out: Any) -> None:
    """Rows of a compressed or scaled image, through astropy: CFITSIO hangs on, or dies of, broken tiles."""
    first, last = int(rows[0]), int(rows[-1]) + 1
    alone = io.BytesIO(alone_in_a_file(file.file.fetch, find_hdu(file.walk(), name)))
    try:
        with warnings.catch_warnings(), fits.open(alone) as library:
            warnings.simplefilter("ignore")
            hdu: Any = library[1]
            image = np.asarray(hdu.section[first:last])
        np.copyto(out, image[rows - first], casting="unsafe")
    except BROKEN_BYTES as error:
        raise ShardCorrupt(
            f"HDU {name}: expected an image that astropy can decode: {type(error).__name__}: {error}"
        ) from error
