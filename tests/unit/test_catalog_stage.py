"""Staging: durable, repeatable, and harmless when it fails."""

import errno
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import catalogs.layout
from catalogs.layout import partition_path
from catalogs.stage import RunState, Stage, open_run, receipts
from engine.errors import PlanError, StagingError
from tests.unit.catalog_rows import PLAN, WORK, layout, publish, staged, stars, task, tasks


def test_receipt_counts_what_was_written(tmp_path: Path) -> None:
    labels = stars(400, task_id="t")
    receipt = staged(layout(tmp_path), {}).stage(task("t"), labels, failure=None, seconds={"draw": 1.5})
    flags = labels["flags"].to_pylist()
    assert receipt.rows == 400 == receipt.ok + receipt.flagged + receipt.no_result
    assert receipt.no_result == sum(f & 1 for f in flags) > 0
    assert receipt.flagged == sum(f == 4 for f in flags) > 0
    assert receipt.flag_counts == {"0": receipt.no_result, "2": receipt.flagged}
    assert receipt.seconds["draw"] == 1.5 and 0 < receipt.seconds["stage"] < 60
    assert pq.read_table(layout(tmp_path).staging / receipt.file).equals(labels)


def test_retry_overwrites_with_the_same_bytes(tmp_path: Path) -> None:
    where = layout(tmp_path)
    sink = staged(where, {"t": stars(50)})
    before = (where.data / "t.parquet").read_bytes()
    sink.stage(task("t"), stars(50), failure=None, seconds={"draw": 9.0})
    assert (where.data / "t.parquet").read_bytes() == before
    assert len(sink.receipts()) == 1


def test_failed_task_keeps_its_reason_and_may_have_no_row(tmp_path: Path) -> None:
    sink = staged(layout(tmp_path), {"t": stars(0)}, {"t": "truncated"})
    (receipt,) = sink.receipts()
    assert (receipt.status, receipt.reason, receipt.rows) == ("failed", "truncated", 0)


def test_stage_travels_to_other_processes(tmp_path: Path) -> None:
    sink = staged(layout(tmp_path), {"t": stars(5)})
    assert pickle.loads(pickle.dumps(sink)).receipts() == sink.receipts()


def test_torn_receipts_and_lost_data_count_as_absent(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, tasks(4, 10))
    torn = where.receipts / "t000.json"
    torn.write_bytes(torn.read_bytes()[:40])
    (where.data / "t001.parquet").unlink()
    short = where.data / "t002.parquet"
    short.write_bytes(short.read_bytes()[:-1])
    (where.receipts / ".t009.json.x.tmp").write_text("{}")
    assert [receipt.task_id for receipt in receipts(where)] == ["t003"]


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink() or path.mkdir(),
        lambda path: path.write_bytes(b"\xff\xfe"),
        lambda path: path.write_text("[1, 2]"),
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_text(path.read_text().replace('"rows": 10', '"rows": "ten"')),
        lambda path: path.write_text(
            path.read_text().replace('"flag_counts": {', '"flag_counts": {"x": null, ')
        ),
        lambda path: path.write_text(path.read_text().replace("data/t001", "data/t002")),
        lambda path: path.write_text(path.read_text().replace('"t001"', '"t002"')),
    ],
    ids=["folder", "bytes", "list", "deep", "word for a number", "null", "another's data", "another's name"],
)
def test_a_receipt_that_makes_no_sense_counts_as_absent(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    where = layout(tmp_path)
    staged(where, tasks(3, 10))
    change(where.receipts / "t001.json")
    assert [receipt.task_id for receipt in receipts(where)] == ["t000", "t002"]


@pytest.mark.parametrize("place", ["receipts/t001.json", "data/t001.parquet"])
def test_a_folder_in_the_place_of_a_file_is_set_aside_and_its_task_done_again(
    tmp_path: Path, place: str
) -> None:
    where = layout(tmp_path)
    made = tasks(3, 10)
    victim = where.staging / place
    for _ in range(2):
        staged(where, made)
        victim.unlink()
        victim.mkdir()
        (victim / "notes.txt").touch()
        assert [receipt.task_id for receipt in receipts(where)] == ["t000", "t002"]
        staged(where, {"t001": made["t001"]})
        assert len(receipts(where)) == 3
    aside = sorted(path.parent.name for path in where.staging.rglob("notes.txt"))
    assert aside == [f"{victim.name}.damaged", f"{victim.name}.damaged-2"]
    assert publish(where, list(made)).rows == 30


def test_a_folder_of_the_size_of_its_file_is_no_file(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, tasks(1, 10))
    (where.data / "t000.parquet").unlink()
    (where.data / "t000.parquet").mkdir()
    said = json.loads((where.receipts / "t000.json").read_bytes())
    said["bytes"] = (where.data / "t000.parquet").stat().st_size
    (where.receipts / "t000.json").write_text(json.dumps(said))
    assert receipts(where) == ()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("broken", ["write_bytes", "replace"])
def test_disk_errors_say_what_to_do_and_harm_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, broken: str
) -> None:
    where = layout(tmp_path)
    sink = staged(where, {"early": stars(10, task_id="early")})

    def fail(self: Path, *_: object) -> None:
        if broken == "write_bytes":
            with self.open("wb") as stream:
                stream.write(b"half")
        raise OSError(code, "no more", str(self))

    monkeypatch.setattr(Path, broken, fail)
    with pytest.raises(StagingError, match=r"late\.parquet.*bytes free.*tasks that are done are kept"):
        sink.stage(task("late"), stars(10, task_id="late"), failure=None, seconds={})
    monkeypatch.undo()
    assert [receipt.task_id for receipt in sink.receipts()] == ["early"]
    assert not list(where.staging.rglob("*.tmp"))
    sink.stage(task("late"), stars(10, task_id="late"), failure=None, seconds={})
    assert len(sink.receipts()) == 2


def test_no_receipt_without_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = layout(tmp_path)
    sink = staged(where, {})
    synced: list[str] = []
    monkeypatch.setattr(catalogs.layout, "sync", lambda path: synced.append(path.name.lstrip(".")))
    sink.stage(task("t"), stars(3), failure=None, seconds={})
    assert [name.partition(".")[0] for name in synced] == ["t", "data", "t", "receipts"]
    assert synced[0].startswith("t.parquet") and synced[2].startswith("t.json")


def test_a_run_is_new_then_resumed_then_published(tmp_path: Path) -> None:
    where = layout(tmp_path)
    assert open_run(where, {"tasks": 2}) is RunState.NEW
    assert open_run(where, {"tasks": 99}) is RunState.RESUMED
    assert json.loads(where.plan.read_bytes()) == {"tasks": 99}  # a plan of the same work, other tasks
    staged(where, tasks(2, 20))
    publish(where, ["t000", "t001"])
    assert open_run(where, {"tasks": 2}) is RunState.PUBLISHED


def test_opening_leaves_the_file_of_another_drivers_live_writer(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, {"t": stars(5)})
    live = where.data / ".t.parquet.0123.tmp"
    live.write_text("half")
    open_run(where, {})
    assert live.read_text() == "half"
    assert len(Stage(where).receipts()) == 1


def test_the_same_plan_is_not_written_again(tmp_path: Path) -> None:
    where = layout(tmp_path)
    open_run(where, {"tasks": 2})
    before = where.plan.stat()
    open_run(where, {"tasks": 2})
    after = where.plan.stat()  # its atime is that of whoever reads it
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_plans_of_the_same_work_share_their_staging(tmp_path: Path) -> None:
    one, other = layout(tmp_path), layout(tmp_path, plan="cd" * 32)
    assert one.staging == other.staging == tmp_path / "_staging" / f"stars-v1-{WORK[:12]}"
    assert one.partial != other.partial and one.scratch != other.scratch
    assert layout(tmp_path, work="01" * 32).staging != one.staging
    staged(one, tasks(2, 10))
    assert open_run(other, {}) is RunState.RESUMED
    assert receipts(other) == receipts(one) != ()


def test_another_plans_catalog_is_refused_with_both_names(tmp_path: Path) -> None:
    first = layout(tmp_path)
    staged(first, tasks(1, 20))
    publish(first, ["t000"])
    other = layout(tmp_path, plan="cd" * 32)
    with pytest.raises(PlanError, match=f"{PLAN[:12]}.*{'cd' * 6}.*new \\[catalog\\] version, or delete"):
        open_run(other, {})
    assert open_run(layout(tmp_path, plan="cd" * 32, version="v2"), {}) is RunState.NEW


@pytest.mark.parametrize("content", ["thesis.tex", "manifest.json"])
def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path, content: str) -> None:
    where = layout(tmp_path)
    where.catalog.mkdir(parents=True)
    assert open_run(where, {}) is RunState.NEW  # an empty folder is no obstacle
    (where.catalog / content).write_text(json.dumps({"plan_digest": PLAN}))
    with pytest.raises(PlanError, match="in the way"):
        open_run(where, {})
    assert (where.catalog / content).exists()


def test_partition_paths_are_those_of_hats() -> None:
    assert partition_path(3, 14) == "dataset/Norder=3/Dir=0/Npix=14.parquet"
    assert partition_path(7, 123_456) == "dataset/Norder=7/Dir=120000/Npix=123456.parquet"
