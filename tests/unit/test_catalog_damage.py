"""Damage between staging and publishing: found before the rename, said in one message, mended by a rerun."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import catalogs.commit
from catalogs.layout import Layout, staged_bytes
from catalogs.stage import receipts
from engine.errors import CommitError, PlanError
from tests.unit.catalog_commits import NAMES, TASKS, Crash, crashing, published_bytes
from tests.unit.catalog_rows import layout, publish, staged, tasks

pytestmark = pytest.mark.usefixtures("small_groups")


def flip(path: Path, place: int = 200) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def edit(where: Layout, task_id: str, **changes: Any) -> None:
    path = where.receipts / f"{task_id}.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def cut_only(where: Layout) -> None:
    """A commit that dies after its cut into pixels was saved."""
    with pytest.raises(Crash):
        publish(where, NAMES, mapper=crashing("split", 0))


@pytest.mark.parametrize("before", [receipts, cut_only], ids=["fresh", "resumed"])
def test_a_flipped_bit_costs_its_own_task_and_nothing_else(
    tmp_path: Path, reference: Layout, before: Callable[[Layout], Any]
) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    before(where)
    flip(where.data / "t001.parquet")
    flip(where.data / "t004.parquet")
    with pytest.raises(
        CommitError,
        match=r"2 staged files.*\n  t001: .*t001\.parquet changed after.*\n  t004.*\n.*same command",
    ):
        publish(where, NAMES)
    assert not where.catalog.exists()
    assert [one.task_id for one in receipts(where)] == ["t000", "t002", "t003", "t005"]
    staged(where, {name: TASKS[name] for name in ("t001", "t004")})
    publish(where, NAMES)
    assert published_bytes(where) == published_bytes(reference)


EDITS: dict[str, dict[str, Any]] = {
    "rows": {"rows": 149},
    "outcomes": {"ok": 0, "flagged": 150, "no_result": 0},
    "bits": {"flag_counts": {"7": 3}},
    "no bits": {"flag_counts": {}},
    "negative": {"rows": -5, "ok": -5},
}


@pytest.mark.parametrize("before", [receipts, cut_only], ids=["fresh", "resumed"])
@pytest.mark.parametrize("change", EDITS)
def test_an_edited_receipt_is_found_and_its_task_done_again(
    tmp_path: Path, change: str, before: Callable[[Layout], Any]
) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    before(where)
    edit(where, "t001", **EDITS[change])
    with pytest.raises(CommitError, match=r"t001: the receipt says .* rows .*; the file holds 150 rows"):
        publish(where, NAMES)
    assert not where.catalog.exists()
    staged(where, {"t001": TASKS["t001"]})
    assert publish(where, NAMES).rows == 900


def forge(where: Layout, task_id: str, column: str, values: list[Any]) -> None:
    """Change a staged column and let the receipt agree with the new bytes."""
    rows = pq.read_table(where.data / f"{task_id}.parquet")
    place = rows.schema.get_field_index(column)
    field = rows.schema.field(place)
    content = staged_bytes(rows.set_column(place, field, pa.array(values, field.type)))
    (where.data / f"{task_id}.parquet").write_bytes(content)
    edit(where, task_id, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("snr", [np.nan] * 50, "values of snr are NaN"),
        ("ra", [1.0] * 50, "not that of"),
        ("teff", [5777.0] * 50, "there though flagged"),
    ],
)
def test_what_verify_would_refuse_is_never_published(
    tmp_path: Path, column: str, values: list[Any], said: str
) -> None:
    where = layout(tmp_path)
    staged(where, tasks(2, 50))
    for _ in range(2):
        forge(where, "t001", column, values)
        with pytest.raises(
            CommitError, match=rf"(?s)not published.*\n  t001: \d+ .*{said}.*same command again"
        ):
            publish(where, ["t000", "t001"])
        assert not where.catalog.exists() and not where.partial.exists()
        assert [receipt.task_id for receipt in receipts(where)] == ["t000"]
        staged(where, {"t001": tasks(2, 50)["t001"]})
    assert publish(where, ["t000", "t001"]).rows == 100


def test_positions_outside_the_sky_are_named(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, tasks(2, 50))
    forge(where, "t001", "_healpix_29", [-1] * 50)
    with pytest.raises(CommitError, match="t001: positions lie outside the sky"):
        publish(where, ["t000", "t001"])


def test_a_staged_file_that_is_no_parquet_is_done_again(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, tasks(2, 50))
    (where.data / "t001.parquet").write_bytes(b"thesis")
    edit(where, "t001", bytes=6, sha256=hashlib.sha256(b"thesis").hexdigest())
    with pytest.raises(CommitError, match=r"t001: .*t001\.parquet cannot be read"):
        publish(where, ["t000", "t001"])


def test_damaged_scratch_is_dropped_and_built_anew(tmp_path: Path, reference: Layout) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    with pytest.raises(Crash):
        publish(where, NAMES, mapper=crashing("reduce", 0))
    victim = next((where.scratch / "split").glob("*.arrow"))
    victim.write_bytes(victim.read_bytes()[:-400])
    with pytest.raises(CommitError, match=r"not published.*\n.*same command again"):
        publish(where, NAMES)
    publish(where, NAMES)
    assert published_bytes(where) == published_bytes(reference)


def test_a_damaged_record_of_a_partition_costs_that_partition(tmp_path: Path, reference: Layout) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    with pytest.raises(Crash):
        publish(where, NAMES, mapper=crashing("reduce", 3))
    one, two, *_ = sorted((where.scratch / "done").glob("*.json"))
    one.write_bytes(b"\xff")
    two.write_text("[1]")
    publish(where, NAMES)
    assert published_bytes(where) == published_bytes(reference)


def test_a_catalog_that_came_first_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where, other = layout(tmp_path), layout(tmp_path, plan="cd" * 32, work="12" * 32)
    for one in (where, other):
        staged(one, tasks(2, 50))
    real = catalogs.commit.write_properties

    def meanwhile(*args: Any) -> None:
        monkeypatch.undo()
        publish(other, ["t000", "t001"])
        real(*args)

    monkeypatch.setattr(catalogs.commit, "write_properties", meanwhile)
    with pytest.raises(PlanError, match="already holds the catalog of another plan"):
        publish(where, ["t000", "t001"])
    assert publish(other, ["t000", "t001"]).already


def test_nothing_is_published_by_a_verify_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bit that flips in a partition while it is on its way to its place."""
    where = layout(tmp_path)
    staged(where, tasks(2, 50))
    real = catalogs.commit.write_properties

    def flipping(*args: Any) -> None:
        real(*args)
        flip(next(where.partial.rglob("Npix=*.parquet")))

    monkeypatch.setattr(catalogs.commit, "write_properties", flipping)
    with pytest.raises(CommitError, match="sha256 is"):
        publish(where, ["t000", "t001"])
    assert not where.catalog.exists()
    monkeypatch.undo()
    assert publish(where, ["t000", "t001"]).rows == 100
