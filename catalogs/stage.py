"""Labels -> staging, one Parquet file and one receipt per task; and opening a run.

A receipt is written after its data, and a retry writes the same names with the same bytes. So a task
is done if and only if its receipt is there.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from functools import partial
from stat import S_ISREG
from typing import Any

import pyarrow as pa
from pydantic import TypeAdapter

from catalogs.files import each, make_folder
from catalogs.layout import Layout, room, set_aside, staged_bytes, write_atomic
from catalogs.place import all_published
from catalogs.remote import Location, Remote
from catalogs.sums import Sums
from engine.errors import StagingError
from engine.types import Receipt, Task

RECEIPT = TypeAdapter(Receipt)


class RunState(Enum):
    """What a run's folders held when it was opened."""

    NEW = "new"
    RESUMED = "resumed"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True)
class Stage:
    """The Sink that writes to a run's staging folder. Picklable; several processes may share it."""

    layout: Layout

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
        """Write one task's labels, then its receipt. StagingError when they cannot be written.

        The receipt also says what writing the labels took, as the seconds of "stage".
        """
        start, file = time.perf_counter(), data_file(task.task_id)
        content = staged_bytes(labels)
        _write(self.layout.staging / file, content)
        receipt = Receipt(
            task_id=task.task_id,
            status="done" if failure is None else "failed",
            **asdict(Sums.of(labels)),
            file=file,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            reason=failure or "",
            seen=seen,
            seconds={**seconds, "stage": time.perf_counter() - start},
            where=where,
        )
        _write(receipt_path(self.layout, task.task_id), json.dumps(receipt.to_dict()).encode())
        return receipt

    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts of every task that is done, sorted by task id."""
        return receipts(self.layout)

    def each_receipt(self) -> Iterator[Receipt]:
        """The same, one after the other: a million of them need not be held."""
        return each_receipt(self.layout)


def receipts(layout: Layout) -> tuple[Receipt, ...]:
    """All receipts of a run whose data are there in full, sorted by task id.

    A receipt that cannot be read, or whose data file is missing, no file or of another size, counts as
    absent: the task is done again. StagingError when a server does not answer.
    """
    return tuple(each_receipt(layout))


def each_receipt(layout: Layout) -> Iterator[Receipt]:
    """As `receipts`, read while they are asked for."""
    try:
        read = partial(_receipt, layout.receipts, _sizes(layout))
        for receipt in each(read, layout.receipts, _names(layout.receipts)):
            if receipt is not None:
                yield receipt
    except OSError as error:
        raise StagingError(f"{layout.receipts}: cannot be read: {error.strerror or error}") from error


def _names(folder: Location) -> list[str]:
    """Names of receipts in order, as plain strings: paths would take most of the memory and of the time."""
    if isinstance(folder, Remote):
        names = [path.name for path in folder.glob("[!.]*.json")]
    elif folder.is_dir():
        with os.scandir(folder) as found:
            names = [one.name for one in found]
    else:
        names = []
    return sorted(name for name in names if name.endswith(".json") and not name.startswith("."))


def data_file(task_id: str) -> str:
    """A task's labels, inside the staging."""
    return f"data/{task_id}.parquet"


def receipt_path(layout: Layout, task_id: str) -> Location:
    """A task's receipt."""
    return layout.receipts / f"{task_id}.json"


def open_run(layout: Layout, plan_record: Mapping[str, Any]) -> RunState:
    """Create or reopen a run's staging; PUBLISHED means that nothing is left to do.

    RESUMED also for another plan of the same work: plan.json always holds the latest plan. Temporary files
    stay: another driver may be writing them.

    PlanError when the catalog's folder belongs to another plan or holds something else; StagingError
    when the staging cannot be written.
    """
    if all_published(layout):
        return RunState.PUBLISHED
    try:
        state = RunState.RESUMED if layout.plan.exists() else RunState.NEW
        for folder in (layout.data, layout.receipts):
            make_folder(folder)
        content = json.dumps(plan_record, indent=1, sort_keys=True).encode()
        if state is RunState.NEW or layout.plan.read_bytes() != content:
            write_atomic(layout.plan, content)
    except OSError as error:
        raise _staging_error(layout.staging, error) from error
    return state


def _receipt(folder: Location, size_of: Callable[[str], int | None], name: str) -> Receipt | None:
    path, task_id = folder / name, name.removesuffix(".json")
    try:
        receipt = RECEIPT.validate_json(path.read_bytes(), strict=True)
    except (FileNotFoundError, ValueError):
        return None
    except OSError:
        if isinstance(path, Remote):
            raise
        return None
    own = (receipt.task_id, receipt.file, receipt.bytes) == (task_id, data_file(task_id), size_of(task_id))
    return receipt if own else None


def _sizes(layout: Layout) -> Callable[[str], int | None]:
    """A function from a task's id to the bytes of its data, None where there is no such file."""
    staging, data = layout.staging, layout.data
    if isinstance(data, Remote):
        there = {f"data/{name}": about.st_size for name, about in data.files().items()}
        return lambda task_id: there.get(data_file(task_id))
    return lambda task_id: _size(staging / data_file(task_id))


def _size(path: Location) -> int | None:
    try:
        data = path.stat()
    except OSError:
        return None
    return data.st_size if S_ISREG(data.st_mode) else None


def _write(path: Location, content: bytes) -> None:
    try:
        try:
            write_atomic(path, content)
        except IsADirectoryError:
            set_aside(path)
            write_atomic(path, content)
    except OSError as error:
        raise _staging_error(path, error) from error


def _staging_error(path: Location, error: OSError) -> StagingError:
    return StagingError(
        f"{path}: cannot be written: {error.strerror or error}{room(path)}; "
        "make room or mend the place, then run the same command again: tasks that are done are kept"
    )
