"""The cache folder of auxiliary tables: what is in it is whole, and made once by one process at a time."""

import fcntl
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_folder() -> Path:
    """$ABUNDANT_CACHE/auxiliary, else ~/.cache/abundant/auxiliary."""
    return Path(os.environ.get("ABUNDANT_CACHE") or Path.home() / ".cache" / "abundant") / "auxiliary"


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache; `make` fills it, elsewhere at first, where it is not there.

    Of several processes one makes it and the others wait. Where a file system knows no locks they may all
    make it, and the first to finish wins: it appears as a whole or not at all.
    """
    return made_whole(cache_folder() / name, make)


def made_whole(final: Path, make: Callable[[Path], None]) -> Path:
    """As `made_once`, for a folder anywhere. OSError where it cannot be written."""
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with _locked(final.with_name(f".{final.name}.lock")) as alone:
        if final.is_dir():
            return final
        if alone:
            _remove_leftovers(final)
        part = final.with_name(f"{_part_prefix(final)}{os.getpid()}")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            make(part)
            _publish(part, final)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return final


def remove_whole(final: Path) -> None:
    """Take a folder away so that nobody sees half of it."""
    aside = final.with_name(f"{_part_prefix(final)}old-{os.getpid()}")
    final.rename(aside)
    shutil.rmtree(aside)


def _part_prefix(final: Path) -> str:
    return f"{final.name}.{socket.gethostname()}.part-"


def _publish(part: Path, final: Path) -> None:
    try:
        part.rename(final)
    except OSError:
        # Another machine was faster: its folder holds the same.
        if not final.is_dir():
            raise


def _remove_leftovers(final: Path) -> None:
    """Drop what a process of this machine left half made; it held the lock, so it is no more."""
    for part in final.parent.glob(f"{_part_prefix(final)}*"):
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a lock that ends with this process; False where the file system has none (some Lustre)."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
