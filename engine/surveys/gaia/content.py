"""What a file is, told by its first bytes; and its plain bytes, as a stream and as a file on disk."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from gzip import BadGzipFile
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

from isal import igzip, isal_zlib

from engine.errors import ShardCorrupt, ShardUnavailable
from engine.surveys.store import Folder, Store, stream

GZIP, ZIP, BOM = b"\x1f\x8b", b"PK\x03\x04", b"\xef\xbb\xbf"
HEAD_BYTES, TAIL_BYTES = 4096, 512
PIECE_BYTES = 2**20

# Its stub says that this is an exception, not a class of them.
ISAL_ERROR: Any = isal_zlib.error

Form: TypeAlias = Literal["text", "fits", "votable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A file's form, whether it is gzipped, and its size with its last bytes.

    Those stand for the content: a gzipped file ends in its checksum.
    """

    form: Form
    packed: bool
    size: int
    tail: bytes


def content_of(store: Store, name: str) -> Content:
    """What a file is, whatever it is called; ShardCorrupt when it is no form of table."""
    with store.open(name) as file:
        head, size = file.fetch(0, HEAD_BYTES), file.size
        tail = file.fetch(max(0, size - TAIL_BYTES), TAIL_BYTES)
    packed = head.startswith(GZIP)
    return Content(form=_form(_inflated_head(head) if packed else head), packed=packed, size=size, tail=tail)


def _inflated_head(head: bytes) -> bytes:
    try:
        return isal_zlib.decompressobj(isal_zlib.MAX_WBITS | 16).decompress(head, HEAD_BYTES)
    except ISAL_ERROR as error:
        raise ShardCorrupt(f"broken gzip: {error}; expected a whole gzipped table") from error


def _form(head: bytes) -> Form:
    text = head.removeprefix(BOM).lstrip()
    if text.startswith(b"SIMPLE"):
        return "fits"
    if text.startswith((b"<?xml", b"<VOTABLE")):
        return "votable"
    if not text or b"\0" in text or text.startswith((ZIP, b"<")):
        hint = "; unzip the archive" if text.startswith(ZIP) else ""
        raise ShardCorrupt(f"begins with {head[:12]!r}, expected CSV, ECSV, FITS or VOTable{hint}")
    return "text"


class Plain:
    """The plain bytes of a file from first to last, inflated on the way where it is gzipped."""

    def __init__(self, store: Store, name: str, packed: bool) -> None:
        self._open = ExitStack()
        raw = stream(self._open.enter_context(store.open(name)))
        # Measured: igzip inflates 720 MB/s of bulk XP text, gzip 240 MB/s.
        self._bytes: BinaryIO = igzip.IGzipFile(fileobj=raw, mode="rb") if packed else raw  # type: ignore

    def read(self, count: int) -> bytes:
        """The next `count` bytes, fewer only at the end; a ShardError when they cannot be had."""
        try:
            return self._bytes.read(count)
        except (EOFError, BadGzipFile, ISAL_ERROR) as error:
            raise ShardCorrupt(f"broken gzip: {error}; expected a whole gzipped table") from error
        except OSError as error:
            raise ShardUnavailable(f"{error.strerror or error}; expected a readable file") from error

    def close(self) -> None:
        """Let go of the file."""
        self._open.close()


@contextmanager
def plain_bytes(store: Store, name: str, packed: bool) -> Iterator[Plain]:
    """The plain bytes of a file, closed at the end."""
    plain = Plain(store, name, packed)
    try:
        yield plain
    finally:
        plain.close()


@contextmanager
def plain_path(store: Store, name: str, content: Content) -> Iterator[Path]:
    """The path of a file's plain bytes; of a gzipped or remote one a copy, kept for its next rows."""
    if isinstance(store, Folder) and not content.packed:
        yield store.root / name
    else:
        yield Path(_copied(store, name, content).name)


@lru_cache(maxsize=1)
def _copied(store: Store, name: str, content: Content) -> Any:
    with plain_bytes(store, name, content.packed) as plain:
        try:
            copy = tempfile.NamedTemporaryFile(prefix="abundant-", suffix=".fits")  # noqa: SIM115
            while piece := plain.read(PIECE_BYTES):
                copy.write(piece)
            copy.flush()
        except OSError as error:
            raise ShardUnavailable(f"{error.strerror}; expected room for a copy in $TMPDIR") from error
    return copy
