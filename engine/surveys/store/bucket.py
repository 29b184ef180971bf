"""Objects under a prefix of a server that speaks S3.

A read that fails is tried again with growing pauses; when that does not help it ends as ShardUnavailable.
Nothing is kept but small objects, which are fetched whole.
"""

import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, TypeVar

import aiohttp
import fsspec
from botocore.exceptions import BotoCoreError, ClientError

from engine.errors import PlanError, ShardCorrupt, ShardUnavailable
from engine.surveys.store.file import Entry, File

ATTEMPTS = 5
FIRST_PAUSE_S = 0.1
# An object up to this size is fetched whole with the first byte: one request instead of many.
SMALL_BYTES = 4 * 2**20
# What an object is like is asked again after this time.
FRESH_S = 20.0
# The most that is asked for in one request.
PIECE_BYTES = 64 * 2**20
THREADS = 16

# What may pass: throttling, resets, time-outs, and bodies that end too early.
PASSING = (OSError, BotoCoreError, ClientError, aiohttp.ClientError)

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a server is reached: see spec.Storage."""

    anonymous: bool
    endpoint: str | None
    region: str | None


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
            found = _again(lambda: client(self.access).find(prefix, detail=True))
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


@cache
def client(access: Access) -> Any:
    """One client per process and kind of access; signed with what the environment holds unless anonymous."""
    if access.endpoint is not None:
        # Checksums that only Amazon knows make other servers refuse.
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    files = fsspec.filesystem(
        "s3",
        anon=access.anonymous,
        endpoint_url=access.endpoint,
        client_kwargs={"region_name": access.region} if access.region else {},
        config_kwargs={"retries": {"max_attempts": 1, "mode": "standard"}, "connect_timeout": 10},
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    # It would try again by itself, with pauses of its own inside ours.
    files.retries = 1
    return files


@lru_cache(maxsize=4)
def _whole(address: str, access: Access, size: int, _stamp: str) -> bytes:
    return _range(address, access, 0, size)


def _range(address: str, access: Access, offset: int, count: int) -> bytes:
    def fetch() -> bytes:
        found = client(access).cat_file(address, start=offset, end=offset + count)
        if len(found) != count:
            raise OSError(f"{len(found)} bytes came of the {count} from byte {offset} on")
        return found

    return _again(fetch)


@lru_cache(maxsize=4096)
def _about(address: str, access: Access, _period: int) -> Entry | None:
    """Size and ETag of an object; None where there is none."""

    def ask() -> Entry | None:
        try:
            return _entry(address, client(access).info(address))
        except FileNotFoundError:
            return None

    return _again(ask)


def _entry(name: str, about: Mapping[str, Any]) -> Entry:
    return Entry(name=name, size=about["size"], stamp=str(about.get("ETag", "")).strip('"'))


def _again(attempt: Callable[[], A]) -> A:
    """The result of an attempt, tried again with growing pauses while trying again may help."""
    failure: Exception | None = None
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except FileNotFoundError as error:
            raise ShardUnavailable("there is no such bucket or object") from error
        except PermissionError as error:
            raise ShardUnavailable(
                f"access is refused ({error}); set the credentials, or [survey.storage] anonymous = true"
            ) from error
        except PASSING as error:
            failure = error
        if number + 1 < ATTEMPTS:
            time.sleep(FIRST_PAUSE_S * 2**number * random.uniform(0.5, 1.5))
    raise ShardUnavailable(f"{failure}, {ATTEMPTS} times; check the network and [survey.storage]")
