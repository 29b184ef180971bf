"""Tables that a spec names: read once per process, and only as they were planned."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from engine.errors import PlanError

T = TypeVar("T")


def sha256_of(path: Path) -> str:
    """sha256 hex of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def once(load: Callable[[Path], T]) -> Callable[[Path, str | None], T]:
    """A loader of a file that keeps the last one it read, and refuses one that is not as planned.

    The result takes a path and the sha256 that the file must have; None, while a run is being planned,
    stands for whatever it is now. PlanError when it has changed.
    """

    @lru_cache(maxsize=1)
    def planned(path: Path, sha256: str) -> T:
        found = load(path)
        # Asked after reading: whatever was put there in the meantime is found.
        if sha256_of(path) != sha256:
            raise PlanError(f"{path} is not the file that was planned with: put it back, or plan again")
        return found

    @lru_cache(maxsize=1)
    def present(path: Path, _stamp: tuple[int, int, int]) -> T:
        return load(path)

    def read(path: Path, sha256: str | None) -> T:
        if sha256 is not None:
            return planned(path, sha256)
        status = path.stat()
        return present(path, (status.st_size, status.st_mtime_ns, status.st_ctime_ns))

    return read
