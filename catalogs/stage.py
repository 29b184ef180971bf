"""Labels -> staging, one Parquet file and one receipt per task; and opening a run.

A receipt is written after its data, and a retry writes the same names with the same bytes. So a task
is done if and only if its receipt is there.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.layout import MANIFEST, PROPERTIES, Layout, bytes_free, staged_bytes, write_atomic
from engine.errors import PlanError, StagingError
from engine.flags import BY_NAME
from engine.types import Receipt, Task

NO_RESULT = BY_NAME["NO_RESULT"].value


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
        self, task: Task, labels: pa.Table, *, failure: str | None, seconds: Mapping[str, float]
    ) -> Receipt:
        """Write one task's labels, then its receipt. StagingError on any error of the file system."""
        content = staged_bytes(labels)
        receipt = Receipt(
            task_id=task.task_id,
            status="done" if failure is None else "failed",
            rows=len(labels),
            **outcomes(labels),
            flag_counts=flag_counts(labels),
            file=f"data/{task.task_id}.parquet",
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            reason=failure or "",
            seconds=dict(seconds),
        )
        _write(self.layout.staging / receipt.file, content)
        _write(self.layout.receipts / f"{task.task_id}.json", json.dumps(receipt.to_dict()).encode())
        return receipt

    def receipts(self) -> tuple[Receipt, ...]:
        """The receipts of every task that is done, sorted by task id."""
        return receipts(self.layout)


def receipts(layout: Layout) -> tuple[Receipt, ...]:
    """All receipts of a run whose data are there in full, sorted by task id.

    A receipt that is torn, or whose data file is missing or of another size, counts as absent: the
    task is done again.
    """
    found = (_receipt(layout, path) for path in sorted(layout.receipts.glob("[!.]*.json")))
    return tuple(receipt for receipt in found if receipt is not None)


def open_run(layout: Layout, plan_record: Mapping[str, Any]) -> RunState:
    """Create or reopen a run's staging; PUBLISHED means that nothing is left to do.

    RESUMED also for another plan of the same work: plan.json always holds the latest plan. Temporary files
    stay: another driver may be writing them.

    PlanError when the catalog's folder belongs to another plan or holds something else; StagingError
    when the staging cannot be written.
    """
    if is_published(layout):
        return RunState.PUBLISHED
    state = RunState.RESUMED if layout.plan.exists() else RunState.NEW
    try:
        for folder in (layout.data, layout.receipts):
            folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps(plan_record, indent=1, sort_keys=True).encode()
        if state is RunState.NEW or layout.plan.read_bytes() != content:
            write_atomic(layout.plan, content)
    except OSError as error:
        raise _staging_error(layout.staging, error) from error
    return state


def is_published(layout: Layout) -> bool:
    """Is this plan's catalog published? False where there is none.

    PlanError when the catalog's folder holds another plan's catalog, or anything else.
    """
    folder = layout.catalog
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    digest = _published_digest(folder)
    if digest == layout.plan_digest:
        return True
    if digest is None:
        raise PlanError(
            f"{folder} is in the way: it is not empty and not a catalog that was published here; "
            "choose another [catalog] name, version or root, or move it away"
        )
    raise PlanError(
        f"{folder} already holds the catalog of another plan: published {digest[:12]}, asked for "
        f"{layout.plan_digest[:12]}; choose a new [catalog] version, or delete that folder"
    )


def outcomes(labels: pa.Table) -> dict[str, int]:
    """How many rows are ok, flagged and no_result: disjoint, together all rows."""
    flags_N = labels["flags"].to_numpy()
    none_N = (flags_N & NO_RESULT) != 0
    flag_N = labels["flag_warn"].to_numpy() | labels["flag_bad"].to_numpy()
    flagged, no_result = int(np.sum(flag_N & ~none_N)), int(np.sum(none_N))
    return {"ok": len(labels) - flagged - no_result, "flagged": flagged, "no_result": no_result}


def flag_counts(labels: pa.Table) -> dict[str, int]:
    """How many rows carry each bit of `flags`; bit number as text -> rows, bits without rows left out."""
    flags_N = labels["flags"].to_numpy()
    counts = {str(bit): int(np.sum((flags_N >> bit) & 1)) for bit in range(32)}
    return {bit: count for bit, count in counts.items() if count}


def _receipt(layout: Layout, path: Path) -> Receipt | None:
    try:
        receipt = Receipt(**json.loads(path.read_bytes()))
        complete = (layout.staging / receipt.file).stat().st_size == receipt.bytes
    except (ValueError, TypeError, FileNotFoundError):
        return None
    return receipt if complete else None


def _published_digest(folder: Path) -> str | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        return manifest["plan_digest"] if (folder / PROPERTIES).exists() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content)
    except OSError as error:
        raise _staging_error(path, error) from error


def _staging_error(path: Path, error: OSError) -> StagingError:
    return StagingError(
        f"{path}: cannot be written: {error.strerror or error} ({bytes_free(path):,} bytes free there); "
        "make room or mend the folder, then run the same command again: tasks that are done are kept"
    )
