"""Files of a folder on a disk."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from engine.errors import PlanError, ShardUnavailable
from engine.surveys.fingerprint import fingerprint, refuse_change
from engine.surveys.store.file import Entry, File

# Measured: pieces that stay in the second-level cache while they are swapped halve the time of a read.
PIECE_BYTES = 2**20

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on a disk."""

    root: Path

    @property
    def exact(self) -> bool:
        """Reading all of a large survey only to name it would take as long as labelling it."""
        return False

    def entries(self, pattern: re.Pattern[str]) -> Iterator[Entry]:
        """Also of a folder whose name matches: skipping it could hide a lost file."""
        if not self.root.is_dir():
            raise PlanError(f"survey.root: {self.root} is not a folder; name the one that holds the files")
        # Plain strings: paths as objects took most of the time to list 10⁵ files.
        waiting = [""]
        while waiting:
            below = waiting.pop()
            try:
                with os.scandir(f"{self.root}/{below}") as found:
                    for one in found:
                        if pattern.fullmatch(one.name):
                            yield _entry(below + one.name, one)
                        elif one.is_dir(follow_symlinks=False):
                            waiting.append(f"{below}{one.name}/")
            except OSError as error:
                raise PlanError(
                    f"survey.root: {error.filename} cannot be listed: {error.strerror}; mend its access"
                ) from error

    @contextmanager
    def open(self, name: str) -> Iterator[File]:
        try:
            descriptor = os.open(self.root / name, os.O_RDONLY)
        except OSError as error:
            raise _unavailable(error) from error
        try:
            yield LocalFile(descriptor, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)

    def stamp(self, name: str) -> str:
        try:
            return _stamp((self.root / name).stat())
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise _unavailable(error) from error

    def touched(self, name: str) -> str:
        try:
            status = (self.root / name).stat()
        except OSError:
            return ""
        return f"{status.st_size} {status.st_mtime_ns}"

    def fingerprint(self, entry: Entry) -> str:
        return fingerprint(self.root / entry.name)

    def refuse_change(self, name: str, planned: str) -> None:
        refuse_change(self.root / name, planned)

    def address(self, name: str) -> str:
        return str(self.root / name)

    def each(self, function: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """One after the other: on a local disk threads only fight for the interpreter."""
        return [function(item) for item in items]


def _stamp(status: os.stat_result) -> str:
    """Also of a file that was put there with its old date: the time of the change cannot be chosen."""
    return f"{status.st_mtime_ns} {status.st_ctime_ns}"


def _entry(name: str, found: os.DirEntry[str]) -> Entry:
    try:
        status = found.stat()
    except OSError:
        # A link that leads nowhere is there and cannot be read.
        return Entry(name=name, size=0, stamp="unreadable")
    return Entry(name=name, size=status.st_size, stamp=_stamp(status))


def _unavailable(error: OSError) -> ShardUnavailable:
    return ShardUnavailable(f"{error.strerror or error}; expected a readable file")


@dataclass(frozen=True, slots=True)
class LocalFile:
    """An open file of a folder."""

    descriptor: int
    size: int

    @property
    def piece_bytes(self) -> int:
        return PIECE_BYTES

    def fetch(self, offset: int, count: int) -> bytes:
        try:
            return os.pread(self.descriptor, count, offset)
        except OSError as error:
            raise _unavailable(error) from error

    def fill(self, offset: int, view: memoryview) -> int:
        done, count = 0, 1
        while count and done < len(view):
            try:
                count = os.preadv(self.descriptor, [view[done:]], offset + done)
            except OSError as error:
                raise _unavailable(error) from error
            done += count
        return done
