"""What is done alike with files on a disk and with objects in a store: read by pyarrow, listed, removed."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from catalogs.remote import Location, Remote

THREADS = 16
# So many results wait at most for whoever takes them.
AHEAD = 64

A = TypeVar("A")
B = TypeVar("B")


def source(place: Location) -> Path | pa.NativeFile:
    """What pyarrow opens to read a file; of an object it fetches what it needs."""
    return place if isinstance(place, Path) else pa.PythonFile(place.stream(), mode="r")


def sizes(folder: Location) -> dict[str, int]:
    """The bytes of every file below, links that lead nowhere included, by its path from there."""
    if isinstance(folder, Remote):
        return {name: about.st_size for name, about in folder.files().items()}
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return {path.relative_to(folder).as_posix(): path.lstat().st_size for path in sorted(found)}


def make_folder(folder: Location) -> None:
    """Make a folder where there is such a thing."""
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)


def remove(folder: Location) -> None:
    """Remove a folder with all that is in it; nothing happens where there is none. OSError."""
    if isinstance(folder, Remote):
        for _ in each(lambda name: (folder / name).unlink(), folder, list(folder.files())):
            pass
    elif folder.exists():
        shutil.rmtree(folder)


def clear(folder: Location) -> None:
    """As `remove`, as far as that is possible."""
    if isinstance(folder, Remote):
        with suppress(OSError):
            remove(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def each(function: Callable[[A], B], place: Location, items: Sequence[A]) -> Iterator[B]:
    """The function of each item, in order; in threads where a place lets us wait for a network."""
    if isinstance(place, Path):
        yield from map(function, items)
        return
    rest = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        while some := list(islice(rest, AHEAD)):
            yield from pool.map(function, some)
