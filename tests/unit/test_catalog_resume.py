"""A commit that was killed anywhere is finished by the same command, to the same bytes."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import catalogs.commit
from catalogs.layout import Layout
from engine.errors import CommitError
from tests.unit.catalog_commits import NAMES, TASKS, Crash, crashing, published_bytes
from tests.unit.catalog_rows import layout, publish, staged, stars

pytestmark = pytest.mark.usefixtures("small_groups")


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("step", ["histogram", "split", "reduce"])
def test_a_crash_in_any_map_is_resumed_to_the_same_bytes(
    tmp_path: Path, reference: Layout, step: str, after: int
) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    with pytest.raises(Crash):
        publish(where, NAMES, mapper=crashing(step, after))
    assert not where.catalog.exists()
    publish(where, NAMES)
    assert published_bytes(where) == published_bytes(reference)


@pytest.mark.parametrize(
    "function",
    [
        "align",
        "write_atomic",
        "write_derived",
        "write_manifest",
        "write_properties",
        "verify_one",
        "publish",
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_between_steps_is_resumed_to_the_same_bytes(
    tmp_path: Path, reference: Layout, monkeypatch: pytest.MonkeyPatch, function: str, when: str
) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    real = getattr(catalogs.commit, function)

    def dies(*args: Any, **named: Any) -> None:
        if when == "after":
            real(*args, **named)
        raise Crash

    monkeypatch.setattr(catalogs.commit, function, dies)
    with pytest.raises(Crash):
        publish(where, NAMES)
    assert where.catalog.exists() == (function == "publish" and when == "after")
    monkeypatch.undo()
    publish(where, NAMES)
    assert published_bytes(where) == published_bytes(reference)
    assert not where.partial.exists()
    assert not where.scratch.exists()


def test_lost_and_half_written_scratch_is_made_again(tmp_path: Path, reference: Layout) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    with pytest.raises(Crash):
        publish(where, NAMES, mapper=crashing("reduce", 3))
    next((where.scratch / "split").glob("*.arrow")).unlink()
    done, *_ = (where.partial / "dataset").rglob("*.parquet")
    done.write_bytes(done.read_bytes()[:100])
    (done.parent / ".Npix=99.parquet.0.tmp").write_bytes(b"half")
    publish(where, NAMES)
    assert published_bytes(where) == published_bytes(reference)


def test_a_resumed_commit_keeps_the_saved_cut(tmp_path: Path, reference: Layout) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    with pytest.raises(Crash):
        publish(where, NAMES, mapper=crashing("split", 1))
    publish(where, NAMES, target_bytes=10**9)
    assert published_bytes(where) == published_bytes(reference)


def test_a_resumed_commit_starts_anew_for_other_rows(tmp_path: Path, reference: Layout) -> None:
    where = layout(tmp_path)
    staged(where, {**TASKS, "t003": stars(70, task_id="t003", first=5000)})
    with pytest.raises(Crash):
        publish(where, NAMES, mapper=crashing("reduce", 5))
    staged(where, TASKS)
    publish(where, NAMES)
    assert published_bytes(where) == published_bytes(reference)


def test_scratch_of_another_plan_of_the_same_work_is_not_used(tmp_path: Path) -> None:
    one, other = layout(tmp_path), layout(tmp_path, plan="cd" * 32)
    staged(one, TASKS)
    with pytest.raises(Crash):
        publish(one, NAMES, mapper=crashing("reduce", 3))
    assert publish(other, NAMES[:4]).rows == 600


def test_a_full_disk_is_a_commit_error_that_can_be_resumed(
    tmp_path: Path, reference: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    real = pq.write_table

    def full(rows: pa.Table, to: Any, **options: Any) -> None:
        if "Npix" in str(to):
            Path(to).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        real(rows, to, **options)

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(CommitError, match=r"No space left.*bytes free.*the staging is kept"):
        publish(where, NAMES)
    monkeypatch.undo()  # also of small_groups: the groups of staged files change
    assert not list(where.partial.rglob("*.tmp"))
    publish(where, NAMES)
    assert published_bytes(where) == published_bytes(reference)
