"""What a store and a file in it can do."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, TypeVar

# Text is streamed in pieces of this size.
STREAM_BYTES = 8 * 2**20

A = TypeVar("A")
B = TypeVar("B")


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

    @property
    def piece_bytes(self) -> int:
        """How much to read at once where more is wanted."""
        ...

    def fetch(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on, fewer at the end of the file; ShardUnavailable."""
        ...

    def fill(self, offset: int, view: memoryview) -> int:
        """Read into memory; how many bytes there were before the end of the file. ShardUnavailable."""
        ...


class Store(Protocol):
    """A root with files under it, by relative name."""

    @property
    def exact(self) -> bool:
        """Whether fingerprints follow every byte."""
        ...

    def entries(self, pattern: re.Pattern[str]) -> Iterator[Entry]:
        """The files under the root whose own name matches, in no order; PlanError if it cannot be listed."""
        ...

    def open(self, name: str) -> AbstractContextManager[File]:
        """The open file; ShardUnavailable when it cannot be read."""
        ...

    def stamp(self, name: str) -> str:
        """What changes when a file is written again; "" where there is none. ShardUnavailable."""
        ...

    def touched(self, name: str) -> str:
        """Size and date of a file, "" where there is none."""
        ...

    def fingerprint(self, entry: Entry) -> str:
        """What tells this content of a file from another; "" where it cannot be read."""
        ...

    def refuse_change(self, name: str, planned: str) -> None:
        """ShardError unless a file still has the fingerprint that was planned with ("" for no file)."""
        ...

    def address(self, name: str) -> str:
        """Where a file is, for people."""
        ...

    def each(self, function: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """The function of each item, in order: at once where the store keeps us waiting."""
        ...


def stream(file: File) -> BinaryIO:
    """A file as a buffered stream of bytes."""
    return io.BufferedReader(_Stream(file), STREAM_BYTES)


def raw(file: File) -> io.RawIOBase:
    """A file as a stream that reads what it is asked for and no more."""
    return _Stream(file)


class _Stream(io.RawIOBase):
    """Reads a File."""

    def __init__(self, file: File) -> None:
        self.file, self.offset = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.offset, io.SEEK_END: self.file.size}[whence]
        self.offset = origin + offset
        return self.offset

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = self.file.fill(self.offset, view)
        self.offset += count
        return count
