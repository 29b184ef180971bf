"""Commit: every staged row once, and the same bytes whatever the order."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pds
import pyarrow.parquet as pq
import pytest

from catalogs.layout import Layout
from catalogs.stage import receipts
from engine.columns import schema
from engine.errors import CommitError, PlanError
from tests.unit.catalog_commits import NAMES, TASKS, multiset, published_bytes
from tests.unit.catalog_rows import COLUMNS, Rows, layout, publish, staged, stars, table, tasks

pytestmark = pytest.mark.usefixtures("small_groups")


def test_every_staged_row_is_published_once_and_nothing_else(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    report = publish(where, NAMES)
    rows = pds.dataset([str(path) for path in where.catalog.rglob("Npix=*.parquet")]).to_table()
    assert multiset(rows) == multiset(pa.concat_tables(TASKS.values()))
    assert report.rows == 900 == report.ok + report.flagged + report.no_result
    assert report.partitions > 3
    assert rows.schema.equals(schema(COLUMNS))


def test_a_commit_imports_no_torch() -> None:
    """Which would cost each of its workers 130 MiB, and seconds."""
    asked = "import sys, catalogs.commit; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", asked], check=True)


def test_order_of_tasks_and_of_the_map_changes_no_byte(tmp_path: Path, reference: Layout) -> None:
    def elsewhere(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
        """Backwards, and everything travels as bytes, as to another process."""
        return [pickle.loads(pickle.dumps(function))(pickle.loads(pickle.dumps(i))) for i in reversed(items)]

    where = layout(tmp_path)
    staged(where, dict(reversed(TASKS.items())))
    publish(where, NAMES[::-1], mapper=elsewhere)
    assert published_bytes(where) == published_bytes(reference)


def test_grouping_of_staged_files_changes_no_byte(
    tmp_path: Path, reference: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalogs.groups.GROUP_FILES", 512)
    where = layout(tmp_path)
    staged(where, TASKS)
    publish(where, NAMES)
    assert published_bytes(where) == published_bytes(reference)


def test_rows_without_a_position_are_published_in_pixel_zero(tmp_path: Path) -> None:
    where = layout(tmp_path)
    lost = table(Rows(ra=np.full(400, np.nan), dec=np.full(400, np.nan), first=10_000))
    staged(where, {**TASKS, "lost": lost})
    publish(where, [*NAMES, "lost"])
    rows = pds.dataset([str(path) for path in where.catalog.rglob("Npix=*.parquet")]).to_table()
    assert rows.filter(pds.field("ra").is_null()).num_rows == 400
    (home,) = (p for p in where.catalog.rglob("Npix=*.parquet") if pq.ParquetFile(p).read()["ra"].null_count)
    assert home.name == "Npix=0.parquet"
    assert pq.read_metadata(home).num_rows == 400  # too many to share a partition with others


def test_committing_again_changes_nothing(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    first = publish(where, NAMES)
    before = {path: path.stat().st_mtime_ns for path in where.catalog.rglob("*")}
    again = publish(where, NAMES)
    assert again.already and not first.already
    assert (again.rows, again.partitions, again.bytes) == (first.rows, first.partitions, first.bytes)
    assert {path: path.stat().st_mtime_ns for path in where.catalog.rglob("*")} == before


def test_what_killed_writers_left_is_swept_once_published(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, tasks(2, 20))
    leftovers = [where.data / ".t000.parquet.0123.tmp", where.receipts / ".t000.json.0123.tmp"]
    for path in leftovers:
        path.write_text("half")
    with pytest.raises(CommitError):
        publish(where, ["t000", "t001", "t002"])
    assert all(path.exists() for path in leftovers)
    publish(where, ["t000", "t001"])
    assert not any(path.exists() for path in leftovers)
    assert len(receipts(where)) == 2


def test_what_the_caller_says_is_kept_whole_in_the_manifest(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, tasks(2, 20))
    publish(where, ["t000", "t001"], also={"warnings": ["clouds"]})
    manifest = json.loads(where.manifest.read_bytes())
    assert manifest["plan"] == {"spec": {"survey": {"name": "desi"}}, "tasks": 99}
    assert (manifest["warnings"], manifest["tasks"]) == (["clouds"], 2)


def test_a_callers_key_that_is_the_commits_own_is_a_bug(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, tasks(2, 20))
    with pytest.raises(ValueError, match="keys rows, tasks are the commit's own"):
        publish(where, ["t000", "t001"], also={"tasks": 3, "rows": 4})
    assert not where.catalog.exists()


def test_another_plans_catalog_is_refused_at_commit_too(tmp_path: Path) -> None:
    first, second = layout(tmp_path), layout(tmp_path, plan="cd" * 32)
    for where in (first, second):
        staged(where, tasks(1, 10))
    publish(first, ["t000"])
    with pytest.raises(PlanError, match="another plan"):
        publish(second, ["t000"])


def test_a_plan_of_the_same_work_publishes_its_own_tasks_only(tmp_path: Path) -> None:
    """A file that was cut short is mended: its task t001 becomes t001m, the others are as before."""
    damaged, mended = layout(tmp_path), layout(tmp_path, plan="cd" * 32)
    made = tasks(3, 40)
    staged(damaged, {**made, "t001": stars(0, task_id="t001")}, {"t001": "truncated"})
    with pytest.raises(CommitError, match="1 tasks failed"):
        publish(damaged, list(made))
    again = stars(40, task_id="t001m", first=900)
    staged(mended, {"t001m": again})
    report = publish(mended, ["t000", "t001m", "t002"])
    rows = pds.dataset([str(path) for path in mended.catalog.rglob("Npix=*.parquet")]).to_table()
    assert multiset(rows) == multiset(pa.concat_tables([made["t000"], made["t002"], again]))
    assert (report.rows, report.failed_tasks) == (120, 0)
    manifest = json.loads(mended.manifest.read_bytes())
    assert (manifest["tasks"], manifest["plan_digest"]) == (3, "cd" * 32)
    with pytest.raises(PlanError, match="another plan"):
        publish(damaged, list(made), failed_allowed=1)


def test_deleting_the_staging_does_not_harm_the_catalog(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    publish(where, NAMES)
    shutil.rmtree(where.staging)
    assert publish(where, NAMES).already
