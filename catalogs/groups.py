"""Staged files, read some at a time, and each held against its receipt."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.files import each
from catalogs.remote import Location
from engine.errors import CommitError
from engine.types import Receipt

GROUP_BYTES = 16 * 2**20
GROUP_FILES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some staged files that are read together: many are tiny, and one by one they would be slow."""

    number: int
    staging: Location
    receipts: tuple[Receipt, ...]

    @property
    def label(self) -> str:
        """A name that another grouping of the same run cannot have."""
        content = "".join(receipt.sha256 for receipt in self.receipts)
        return f"{self.number:06d}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A task whose staged file is not what its receipt says."""

    task_id: str
    what: str


def group(staging: Location, receipts: Sequence[Receipt]) -> tuple[Group, ...]:
    """Receipts in groups of bounded bytes and files, in their order; none where there are no receipts."""
    groups: list[list[Receipt]] = []
    size = 0
    for receipt in receipts:
        if not groups or size + receipt.bytes > GROUP_BYTES or len(groups[-1]) == GROUP_FILES:
            groups.append([])
            size = 0
        groups[-1].append(receipt)
        size += receipt.bytes
    numbered = enumerate(groups)
    return tuple(Group(number=n, staging=staging, receipts=tuple(some)) for n, some in numbered)


def staged_files(group: Group, schema: pa.Schema) -> Iterator[tuple[Receipt, pq.ParquetFile | Damage]]:
    """A group's files with their receipts, each read whole and once.

    Damage unless a file's bytes are those that were staged.
    CommitError when one was staged with other columns: that is no accident of the disk.
    """
    read = each(lambda receipt: _open_staged(group.staging, receipt, schema), group.staging, group.receipts)
    return zip(group.receipts, read, strict=True)


def _open_staged(staging: Location, receipt: Receipt, schema: pa.Schema) -> pq.ParquetFile | Damage:
    """A staged file, read whole and once."""
    path = staging / receipt.file
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != receipt.sha256:
        return Damage(task_id=receipt.task_id, what=f"{path} changed after it was staged")
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
    except (OSError, pa.ArrowException) as error:
        return Damage(task_id=receipt.task_id, what=f"{path} cannot be read: {str(error).splitlines()[0]}")
    if not file.schema_arrow.equals(schema):
        raise CommitError(f"{path} has other columns: {_difference(file.schema_arrow, schema)}")
    return file


def _difference(found: pa.Schema, wanted: pa.Schema) -> str:
    has, needs = ([f"{field.name} {field.type}" for field in one] for one in (found, wanted))
    lacks, besides = [c for c in needs if c not in has], [c for c in has if c not in needs]
    return f"lacks {lacks}, has besides {besides}; staged by another version of the program?"
