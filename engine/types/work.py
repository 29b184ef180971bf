"""How work is cut, and what proves that it is done."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Where an HDU's data lies in its file: first byte, and the array found there.

    `dtype` is a numpy type string in file order (">f4"); "" marks data that only a FITS library can
    decode (compressed images, gzipped files).
    """

    offset: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the files of a shard that groups tiny ones, with its rows and what it was planned with."""

    path: str
    size: int
    rows: int
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One input file, as the index knows it; or a group of tiny ones, whose rows follow each other.

    `problem` says why the file cannot be read; its tasks then fail with that reason and nothing else
    is affected. `rows` is what could still be learned of such a file, often 0. The fingerprints are of
    the content that was planned with: of this file, and of the one that is read beside it ("" for none).
    """

    path: str
    size: int
    rows: int
    shard_id: str
    fingerprint: str = ""
    path_beside: str = ""
    fingerprint_beside: str = ""
    extents: Mapping[str, Extent] = field(default_factory=dict)
    problem: str | None = None
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Rows [start, stop) of a shard: the unit of reading, computing, retry, output and receipt."""

    task_id: str
    shard: Shard
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that one task is done, written after its data.

    `rows` = `ok` + `flagged` + `no_result`. A failed task's rows, where their ids could be read, are
    staged as NO_RESULT rows and counted there. `seen` stands for the sizes and dates of its files when it
    was read: a task is done only as long as they stay the same. `where` is the host that did it, on Ray with
    its node.
    """

    task_id: str
    status: Literal["done", "failed"]
    rows: int
    ok: int
    flagged: int
    no_result: int
    flag_counts: Mapping[str, int]
    file: str
    bytes: int
    sha256: str
    reason: str = ""
    seen: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    where: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The receipt as plain values, ready for JSON."""
        return asdict(self)


class Sink(Protocol):
    """Where labels go. Staging the same task twice must leave the same single result."""

    def stage(
        self,
        task: Task,
        labels: pa.Table,
        *,
        failure: str | None,
        seconds: Mapping[str, float],
        seen: str = "",
        where: str = "",
    ) -> Receipt:
        """Write one task's labels durably and return its receipt; StagingError when that fails."""
        ...
