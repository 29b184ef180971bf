"""What is published, where everything lies on disk, how files become durable, and how Parquet is written.

root/name/version/                      the published catalog
root/name-side/version/                 its side catalog, if the run has one
root/name/.version-PLANHASH.partial/    the same folder while a commit builds it (name-side alike)
root/_staging/name-version-WORKHASH/    plan.json, data/, receipts/ and a commit's scratch

WORKHASH names what the labels depend on, PLANHASH that and the list of tasks: when a damaged file is mended,
its tasks change but not the work, so the receipts of all other tasks are found again.
"""

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import BufferedReader
from itertools import chain, count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.remote import Location, Remote
from engine.types import Column

MANIFEST = "manifest.json"
PROPERTIES = "hats.properties"
DATASET = "dataset"
PLAN, LEASE = "plan.json", "lease.json"
TEMPORARY = ".tmp"

SIDE = "-side"

TARGET_BYTES = 100 * 2**20
ROW_GROUP = 100_000
BLOOM_COLUMNS = ("targetid", "gaia_source_id")
# Neighbours on the sky have neighbouring numbers: a source_id holds the pixel of order 12.
ALONG_THE_SKY = ("_healpix_29", "gaia_source_id")
# Numbers each of which occurs so often, among so many rows, are kept as a dictionary.
REPEATS, LOOKED_AT = 8, 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What is published: the names of the columns that key a row, all columns, and how large files become.

    `side` are the columns that only the side catalog has.
    """

    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    side: tuple[Column, ...] = ()
    target_bytes: int = TARGET_BYTES

    @property
    def staged(self) -> tuple[Column, ...]:
        """The columns of staged files."""
        return (*self.columns, *self.side)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folders of one run.

    `work_digest` is the sha256 hex of all that a task's labels depend on besides the task; `plan_digest` is
    that of the work and the list of tasks. A side catalog shares all but its own place with the main one.
    """

    root: Location
    name: str
    version: str
    plan_digest: str
    work_digest: str
    has_side: bool = False
    ending: str = ""

    @property
    def parts(self) -> tuple["Layout", ...]:
        """The run's catalogs: this one, then its side catalog if it has one."""
        return (self, replace(self, has_side=False, ending=SIDE)) if self.has_side else (self,)

    @property
    def title(self) -> str:
        """What the catalog is called, and its folder."""
        return f"{self.name}{self.ending}"

    @property
    def run(self) -> str:
        """The run's name: what `status` shows."""
        return f"{self.name}-{self.version}-{self.work_digest[:12]}"

    @property
    def staging(self) -> Location:
        """Everything of the run that is not yet published; plans of the same work share it."""
        return self.root / "_staging" / self.run

    @property
    def data(self) -> Location:
        """Staged labels, one Parquet file per task."""
        return self.staging / "data"

    @property
    def receipts(self) -> Location:
        """One JSON file per task, written after its data."""
        return self.staging / "receipts"

    @property
    def plan(self) -> Location:
        """What was planned last."""
        return self.staging / PLAN

    @property
    def lease(self) -> Location:
        """Who drives the run at this moment; in an object store lease-000001.json and so on, beside it."""
        return self.staging / LEASE

    @property
    def scratch(self) -> Location:
        """The intermediate files of this plan's commit; safe to delete at any time."""
        return self.staging / f"commit-{self.plan_digest[:12]}"

    @property
    def catalog(self) -> Location:
        """The published catalog."""
        return self.root / self.title / self.version

    @property
    def partial(self) -> Location:
        """The catalog while it is built: beside its final place, so that a rename publishes it."""
        return self.root / self.title / f".{self.version}-{self.plan_digest[:12]}.partial"

    @property
    def manifest(self) -> Location:
        """The published manifest."""
        return self.catalog / MANIFEST


def partition_path(order: int, pixel: int) -> str:
    """A partition's path inside its catalog, as HATS wants it."""
    return f"{DATASET}/Norder={order}/Dir={pixel // 10_000 * 10_000}/Npix={pixel}.parquet"


@contextmanager
def atomic_file(path: Location) -> Iterator[Path]:
    """A temporary file that takes `path`'s place, durably, when the block ends without error."""
    if isinstance(path, Remote):
        with tempfile.TemporaryDirectory(prefix="abundant-") as folder:
            yield (temporary := Path(folder) / path.name)
            path.write_bytes(temporary.read_bytes())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(path: Location, content: bytes) -> None:
    """Write `content` so that `path` holds all of it or what it held before, also after a power cut."""
    if isinstance(path, Remote):
        path.write_bytes(content)
        return
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def set_aside(path: Location) -> None:
    """Give a damaged file, or a folder in a file's place, a name that is free: it can still be looked at."""
    endings = chain([""], (f"-{number}" for number in count(2)))
    names = (path.with_name(f"{path.name}.damaged{ending}") for ending in endings)
    free = next(name for name in names if not name.exists())
    if isinstance(path, Path) and isinstance(free, Path):
        path.rename(free)
    elif isinstance(path, Remote) and isinstance(free, Remote):
        path.copy_to(free)
        path.unlink()


def sync(path: Location) -> None:
    """Force a file, or the names in a folder, onto the disk; what a server has taken is durable."""
    if isinstance(path, Remote):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Location) -> int:
    """Remove temporary files that killed processes left anywhere in `folder`; how many there were."""
    if isinstance(folder, Remote):
        with suppress(OSError):
            return folder.abort_uploads()
        return 0
    leftovers = list(folder.rglob(f".*{TEMPORARY}"))
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)


def sha256_file(path: Location) -> str:
    """sha256 hex of a file's bytes."""
    with BufferedReader(path.stream(), 2**23) if isinstance(path, Remote) else path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def room(path: Location) -> str:
    """How much is free on the disk that holds `path`, or would hold it, in words; nothing of a server."""
    if isinstance(path, Remote):
        return ""
    while not path.exists():
        path = path.parent
    return f" ({shutil.disk_usage(path).free:,} bytes free there)"


def staged_bytes(table: pa.Table) -> bytes:
    """A staged table as a Parquet file: small, without indices, same table -> same bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **_encodings(table))
    return sink.getvalue().to_pybytes()


def write_partition(path: Location, table: pa.Table) -> tuple[int, str]:
    """Write a catalog partition atomically: row groups of 100k, page index, Bloom filters on ids.

    What comes back is its bytes, and their sha256.
    Pages follow chunk borders, so the table is made contiguous: same rows -> same bytes.
    """
    table = table.combine_chunks()
    rows = max(1, min(len(table), ROW_GROUP))
    bloom = {name: {"ndv": rows, "fpp": 0.05} for name in BLOOM_COLUMNS if name in table.column_names}
    with atomic_file(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=ROW_GROUP,
            write_page_index=True,
            bloom_filter_options=bloom or None,
            **_encodings(table),
        )
        return temporary.stat().st_size, sha256_file(temporary)


def _encodings(table: pa.Table) -> dict[str, Any]:
    """zstd 3; dictionaries for what repeats, byte-stream-split for other numbers, delta along the sky.

    pyarrow's default dictionary on near-unique floats makes files larger than no encoding at all.
    """
    small = (pa.string(), pa.int16(), pa.int32())
    split = [field.name for field in table.schema if field.type in (pa.float32(), pa.float64(), pa.int64())]
    repeats = [name for name in split if name not in ALONG_THE_SKY and _repeats(table[name])]
    encoding = dict.fromkeys(split, "BYTE_STREAM_SPLIT")
    encoding |= {name: "DELTA_BINARY_PACKED" for name in split if name in ALONG_THE_SKY}
    lists = (field.name for field in table.schema if pa.types.is_fixed_size_list(field.type))
    encoding |= {f"{name}.list.element": "BYTE_STREAM_SPLIT" for name in lists}
    return {
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": [*(field.name for field in table.schema if field.type in small), *repeats],
        "column_encoding": {name: how for name, how in encoding.items() if name not in repeats},
    }


def _repeats(column: pa.ChunkedArray) -> bool:
    """Does a column of numbers count or enumerate something? Its first rows tell."""
    first = column.slice(0, LOOKED_AT)
    return REPEATS * len(first.unique()) <= len(first)
