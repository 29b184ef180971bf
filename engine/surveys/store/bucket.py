"""Objects under a prefix of a server that speaks S3.

A read that fails is tried again with growing pauses; when that does not help it ends as ShardUnavailable.
Nothing is kept but small objects, which are fetched whole.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from engine.errors import PlanError, ShardCorrupt, ShardUnavailable
from engine.surveys.store.client import Access, again, client
from engine.surveys.store.file import Entry, File

# An object up to this size is fetched whole with the first byte: one request instead of many.
SMALL_BYTES = 4 * 2**20
# What an object is like is asked again after this time.
FRESH_S = 20.0
# The most that is asked for in one request.
PIECE_BYTES = 64 * 2**20
THREADS = 16

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix of an object store."""

    root: str
    access: Access

    @property
    def exact(self) -> bool:
        return True

    def entries(self, pattern: re.Pattern[str]) -> Iterator[Entry]:
        prefix = self.root.removeprefix("s3://")
        try:
            found = _again(lambda: client(self.access).find(prefix, detail=True), self.access)
        except ShardUnavailable as error:
            raise PlanError(f"survey.root: {self.root}: {error}") from error
        for path, about in found.items():
            if pattern.fullmatch(path.rpartition("/")[2]):
                yield _entry(path.removeprefix(prefix).lstrip("/"), about)

    @contextmanager
    def open(self, name: str) -> Iterator[File]:
        about = self._about(name)
        if about is None:
            raise ShardUnavailable("there is no such object; plan again")
        yield RemoteFile(self.address(name), self.access, about.size, about.stamp)

    def stamp(self, name: str) -> str:
        about = self._about(name)
        return about.stamp if about else ""

    def touched(self, name: str) -> str:
        return self.stamp(name)

    def fingerprint(self, entry: Entry) -> str:
        """The ETag: it follows the content, of one upload or of its parts."""
        return entry.stamp

    def refuse_change(self, name: str, planned: str) -> None:
        found = self.stamp(name)
        if planned and not found:
            raise ShardUnavailable("there is no such object any more; expected what the plan saw")
        if found != planned:
            raise ShardCorrupt("changed since the plan; plan again")

    def address(self, name: str) -> str:
        return f"{self.root}/{name}"

    def each(self, function: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """In threads: nearly all the time is waiting for the server."""
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(function, items))

    def _about(self, name: str) -> Entry | None:
        return _about(self.address(name), self.access, int(time.monotonic() / FRESH_S))


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An object; every read is a request of its own, unless the object is small."""

    address: str
    access: Access
    size: int
    stamp: str

    @property
    def piece_bytes(self) -> int:
        return PIECE_BYTES

    def fetch(self, offset: int, count: int) -> bytes:
        count = max(0, min(count, self.size - offset))
        if count == 0:
            return b""
        if self.size <= SMALL_BYTES:
            return _whole(self.address, self.access, self.size, self.stamp)[offset : offset + count]
        return _range(self.address, self.access, offset, count)

    def fill(self, offset: int, view: memoryview) -> int:
        done = 0
        while done < len(view):
            found = self.fetch(offset + done, min(self.piece_bytes, len(view) - done))
            if not found:
                break
            view[done : done + len(found)] = found
            done += len(found)
        return done


@lru_cache(maxsize=4)
def _whole(address: str, access: Access, size: int, _stamp: str) -> bytes:
    return _range(address, access, 0, size)


def _range(address: str, access: Access, offset: int, count: int) -> bytes:
    def fetch() -> bytes:
        found = client(access).cat_file(address, start=offset, end=offset + count)
        if len(found) != count:
            raise OSError(f"{len(found)} bytes came of the {count} from byte {offset} on")
        return found

    return _again(fetch, access)


@lru_cache(maxsize=4096)
def _about(address: str, access: Access, _period: int) -> Entry | None:
    """Size and ETag of an object; None where there is none."""

    def ask() -> Entry | None:
        try:
            return _entry(address, client(access).info(address))
        except FileNotFoundError:
            return None

    return _again(ask, access)


def _entry(name: str, about: Mapping[str, Any]) -> Entry:
    return Entry(name=name, size=about["size"], stamp=str(about.get("ETag", "")).strip('"'))


def _again(attempt: Callable[[], A], access: Access) -> A:
    """As `again`; ShardUnavailable when it does not help."""
    try:
        return again(attempt, access)
    except OSError as error:
        raise ShardUnavailable(error.strerror) from error
