"""Where files are: one folder on a disk, or one prefix in an object store. The same calls for both.

Nothing is cached but small remote files. A remote read that fails is tried again with growing pauses; when
that does not help it ends as ShardUnavailable, which names the address.
"""

import io
import os
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import fsspec
from botocore.exceptions import BotoCoreError, ClientError

from engine.errors import PlanError, ShardCorrupt, ShardUnavailable
from engine.spec import Storage
from engine.surveys.fingerprint import fingerprint, refuse_change

ATTEMPTS = 5
FIRST_PAUSE_S = 0.1
# A remote file up to this size is fetched whole with the first byte: one request instead of many.
SMALL_BYTES = 4 * 2**20
# Text is streamed in pieces of this size.
STREAM_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file under a root: relative name, bytes, and a stamp that changes when it is written again."""

    name: str
    size: int
    stamp: str


class File(Protocol):
    """An open file."""

    @property
    def size(self) -> int:
        """Its bytes."""
        ...

    def fetch(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on, fewer at the end of the file."""
        ...

    def fill(self, offset: int, view: memoryview) -> int:
        """Read into memory; how many bytes there were before the end of the file."""
        ...


class Store(Protocol):
    """A root with files under it, by relative name."""

    def entries(self) -> Iterator[Entry]:
        """Every file under the root, in no order; PlanError when it cannot be listed."""
        ...

    def open(self, name: str) -> Any:
        """A context manager that gives a File; ShardUnavailable when it cannot be read."""
        ...

    def local(self, name: str) -> Any:
        """A context manager that gives the path of the file, or of a copy of it, on this machine's disk."""
        ...

    def fingerprint(self, entry: Entry) -> str:
        """What tells this content of a file from another; "" where it cannot be read."""
        ...

    def refuse_change(self, name: str, planned: str) -> None:
        """ShardError unless a file still has the fingerprint that was planned with."""
        ...

    def address(self, name: str) -> str:
        """Where a file is, for people."""
        ...


def store_of(root: str, storage: Storage) -> Store:
    """The store that a root names: a folder, or s3://bucket/prefix. PlanError for another scheme."""
    scheme, colon, _ = root.partition("://")
    if not colon:
        return Folder(Path(root))
    if scheme != "s3":
        raise PlanError(
            f"survey.root: {root}: files can be read from a folder or from s3://, not {scheme}://"
        )
    access = Access(anonymous=storage.anonymous, endpoint=storage.endpoint, region=storage.region)
    return Bucket(root.rstrip("/"), access)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a server is reached: see spec.Storage."""

    anonymous: bool
    endpoint: str | None
    region: str | None


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on a disk."""

    root: Path

    def entries(self) -> Iterator[Entry]:
        if not self.root.is_dir():
            raise PlanError(f"survey.root: {self.root} is not a folder; name the one that holds the files")
        for folder, _, names in os.walk(self.root, onerror=_refuse_folder):
            for name in names:
                path = Path(folder, name)
                status = path.stat(follow_symlinks=True) if path.exists() else path.lstat()
                yield Entry(
                    name=path.relative_to(self.root).as_posix(),
                    size=status.st_size,
                    stamp=str(status.st_mtime_ns),
                )

    @contextmanager
    def open(self, name: str) -> Iterator[File]:
        try:
            descriptor = os.open(self.root / name, os.O_RDONLY)
        except OSError as error:
            raise ShardUnavailable(f"{error.strerror or error}; expected a readable file") from error
        try:
            yield LocalFile(descriptor, os.fstat(descriptor).st_size)
        except OSError as error:
            raise ShardUnavailable(f"{error.strerror or error}; expected a readable file") from error
        finally:
            os.close(descriptor)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        yield self.root / name

    def fingerprint(self, entry: Entry) -> str:
        return fingerprint(self.root / entry.name)

    def refuse_change(self, name: str, planned: str) -> None:
        refuse_change(self.root / name, planned)

    def address(self, name: str) -> str:
        return str(self.root / name)


def _refuse_folder(error: OSError) -> None:
    raise PlanError(f"survey.root: {error.filename} cannot be listed: {error.strerror}; mend its access")


@dataclass(frozen=True, slots=True)
class LocalFile:
    """An open file of a folder."""

    descriptor: int
    size: int

    def fetch(self, offset: int, count: int) -> bytes:
        return os.pread(self.descriptor, count, offset)

    def fill(self, offset: int, view: memoryview) -> int:
        done = 0
        while done < len(view):
            count = os.preadv(self.descriptor, [view[done:]], offset + done)
            if count == 0:
                break
            done += count
        return done


@dataclass(frozen=True, slots=True)
class Bucket:
    """A prefix of an object store that speaks S3."""

    root: str
    access: Access

    def entries(self) -> Iterator[Entry]:
        prefix = self.root.removeprefix("s3://")
        try:
            found = _file_system(self.access).find(prefix, detail=True)
        except (OSError, BotoCoreError, ClientError) as error:
            raise PlanError(
                f"survey.root: {self.root} cannot be listed: {error}; check the bucket, its region, "
                "[survey.storage] and the credentials in the environment"
            ) from error
        for path, about in found.items():
            name = path.removeprefix(prefix).lstrip("/")
            yield _entry(name, about)

    @contextmanager
    def open(self, name: str) -> Iterator[File]:
        about = _about(self.address(name), self.access)
        yield RemoteFile(self.address(name), self.access, about.size, about.stamp)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        with self.open(name) as file, tempfile.NamedTemporaryFile(suffix=Path(name).name) as copy:
            for offset in range(0, file.size, STREAM_BYTES):
                copy.write(file.fetch(offset, min(STREAM_BYTES, file.size - offset)))
            copy.flush()
            yield Path(copy.name)

    def fingerprint(self, entry: Entry) -> str:
        return entry.stamp

    def refuse_change(self, name: str, planned: str) -> None:
        if _about(self.address(name), self.access).stamp != planned:
            raise ShardCorrupt("changed since the plan; plan again")

    def address(self, name: str) -> str:
        return f"{self.root}/{name}"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """An object; every read is a request of its own, unless it is small."""

    address: str
    access: Access
    size: int
    stamp: str

    def fetch(self, offset: int, count: int) -> bytes:
        count = max(0, min(count, self.size - offset))
        if count == 0:
            return b""
        if self.size <= SMALL_BYTES:
            return _whole(self.address, self.access, self.size, self.stamp)[offset : offset + count]
        return _patiently(self.address, self.access, offset, count)

    def fill(self, offset: int, view: memoryview) -> int:
        found = self.fetch(offset, len(view))
        view[: len(found)] = found
        return len(found)


@cache
def _file_system(access: Access) -> Any:
    """One client per process and kind of access; signed with what the environment holds unless anonymous."""
    # Checksums that only AWS knows make other servers refuse (ecosystem: Ceph RGW, rclone).
    if access.endpoint is not None:
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        os.environ.setdefault("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    client = {"region_name": access.region} if access.region else {}
    return fsspec.filesystem(
        "s3",
        anon=access.anonymous,
        endpoint_url=access.endpoint,
        client_kwargs=client,
        config_kwargs={"retries": {"max_attempts": 2, "mode": "standard"}},
        skip_instance_cache=True,
        use_listings_cache=False,
    )


@lru_cache(maxsize=4)
def _whole(address: str, access: Access, size: int, _stamp: str) -> bytes:
    return _patiently(address, access, 0, size)


def _about(address: str, access: Access) -> Entry:
    return _entry(address, _again(address, lambda: _file_system(access).info(address)))


def _entry(name: str, about: Mapping[str, Any]) -> Entry:
    return Entry(name=name, size=about["size"], stamp=str(about.get("ETag", "")).strip('"'))


def _patiently(address: str, access: Access, offset: int, count: int) -> bytes:
    def fetch() -> bytes:
        found = _file_system(access).cat_file(address, start=offset, end=offset + count)
        if len(found) != count:
            raise OSError(f"{len(found)} bytes came of the {count} from byte {offset} on")
        return found

    return _again(address, fetch)


def _again(address: str, attempt: Any) -> Any:
    """The result of an attempt, tried again with growing pauses while trying again may help."""
    for number in range(1, ATTEMPTS + 1):
        try:
            return attempt()
        except FileNotFoundError as error:
            raise ShardUnavailable(f"{address}: there is no such object; plan again") from error
        except PermissionError as error:
            raise ShardUnavailable(f"{address}: access is refused: {error}; check the credentials") from error
        except (OSError, BotoCoreError, ClientError) as error:
            if number == ATTEMPTS:
                raise ShardUnavailable(
                    f"{address}: {error}, {ATTEMPTS} times; check the network and [survey.storage]"
                ) from error
            time.sleep(FIRST_PAUSE_S * 2 ** (number - 1) * random.uniform(0.5, 1.5))
    raise AssertionError


def stream(file: File) -> BinaryIO:
    """A file as a buffered stream of bytes."""
    return io.BufferedReader(_Stream(file), STREAM_BYTES)


class _Stream(io.RawIOBase):
    """Reads a File from its beginning to its end."""

    def __init__(self, file: File) -> None:
        self.file, self.offset = file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = self.file.fill(self.offset, view)
        self.offset += count
        return count
