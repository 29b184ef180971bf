"""A catalog in an object store, as far as its footers go, on a disk: all that hats looks at."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import RawIOBase
from pathlib import Path

from catalogs.files import each
from catalogs.layout import DATASET
from catalogs.remote import Remote

# More than most footers have, so that one request is enough.
TAIL_BYTES = 2**18
# At the very end: the footer's length, and four letters.
LENGTH_BYTES = 8


@contextmanager
def hollow(folder: Remote) -> Iterator[Path]:
    """A temporary folder with the Parquet files below: as long, and empty up to their footers."""
    with tempfile.TemporaryDirectory(prefix="abundant-") as here:
        names = [name for name in (folder / DATASET).files() if name.endswith(".parquet")]
        for name, (size, footer) in zip(
            names, each(partial(_footer, folder / DATASET), folder, names), strict=True
        ):
            path = Path(here) / DATASET / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.seek(size - len(footer))
                file.write(footer)
        yield Path(here)


def _footer(folder: Remote, name: str) -> tuple[int, bytes]:
    """A Parquet file's bytes in all, and its last ones."""
    with (folder / name).stream() as file:
        size = file.seek(0, 2)
        tail = _last(file, size, TAIL_BYTES)
        needed = int.from_bytes(tail[-LENGTH_BYTES:][:4], "little") + LENGTH_BYTES
        return size, tail if needed <= len(tail) else _last(file, size, needed)


def _last(file: RawIOBase, size: int, count: int) -> bytes:
    file.seek(max(0, size - count))
    return file.read(count) or b""
