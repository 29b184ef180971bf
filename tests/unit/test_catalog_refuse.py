"""What a commit refuses, with a message that says what to do; nothing is published or lost."""

from pathlib import Path

import pyarrow as pa
import pytest

from engine.errors import CommitError
from tests.unit.catalog_commits import NAMES, TASKS
from tests.unit.catalog_rows import FIRST_ID, layout, publish, staged, stars, tasks

pytestmark = pytest.mark.usefixtures("small_groups")


def test_missing_receipts_are_listed(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, tasks(2, 10))
    with pytest.raises(CommitError, match=r"1 of 3 tasks have no receipt:\n  t002\n"):
        publish(where, ["t000", "t001", "t002"])


def test_failed_tasks_beyond_the_tolerance_are_listed(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, tasks(3, 10), {"t001": "truncated FITS", "t002": "no HDU"})
    with pytest.raises(
        CommitError, match=r"t001: truncated FITS\n  t002: no HDU\n.*\[tolerance\] failed_tasks = 2"
    ):
        publish(where, ["t000", "t001", "t002"], failed_allowed=1)
    assert publish(where, ["t000", "t001", "t002"], failed_allowed=2).failed_tasks == 2


def test_nothing_staged_is_nothing_to_publish(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, {"t": stars(0)})
    with pytest.raises(CommitError, match="nothing to publish"):
        publish(where, ["t"])
    assert not where.catalog.exists()


def test_groups_of_failed_tasks_without_rows_do_no_harm(tmp_path: Path) -> None:
    where = layout(tmp_path)
    empty = {name: stars(0, task_id=name) for name in ("a0", "a1", "a2", "a3")}
    staged(where, {**empty, **TASKS}, dict.fromkeys(empty, "not a FITS file"))
    report = publish(where, [*empty, *NAMES], failed_allowed=4)
    assert (report.rows, report.failed_tasks) == (900, 4)


def test_duplicate_keys_are_listed_and_nothing_is_removed(tmp_path: Path) -> None:
    where = layout(tmp_path)
    one, two = stars(30, task_id="a"), stars(30, task_id="b", first=100)
    elsewhere = one.slice(0, 12).set_column(0, "_healpix_29", two.slice(0, 12)["_healpix_29"])
    elsewhere = elsewhere.set_column(one.schema.get_field_index("task_id"), "task_id", pa.array(["b"] * 12))
    staged(where, {"a": one, "b": pa.concat_tables([two, elsewhere.cast(one.schema)])})
    before = {path: path.read_bytes() for path in where.staging.rglob("*.parquet")}
    with pytest.raises(CommitError) as caught:
        publish(where, ["a", "b"])
    message = str(caught.value)
    assert message.startswith("12 keys (survey/program/healpix/tile/targetid) occur more than once")
    assert message.count(": tasks a, b") == 10
    assert f"/NULL/{FIRST_ID}: tasks a, b" in message
    assert {path: path.read_bytes() for path in where.staging.rglob("*.parquet")} == before
    assert not where.catalog.exists()


def test_keys_that_differ_in_one_part_only_are_no_duplicates(tmp_path: Path) -> None:
    where = layout(tmp_path)
    one = stars(5, task_id="a")
    tile = pa.array([7] * 5, pa.int32())
    two = one.set_column(one.schema.get_field_index("tile"), one.schema.field("tile"), tile)
    staged(where, {"a": one, "b": two})
    assert publish(where, ["a", "b"]).rows == 10


def test_other_columns_are_refused(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, {"t": stars(5).drop_columns(["teff"])})
    with pytest.raises(CommitError, match=r"t\.parquet has other columns: lacks \['teff float'\]"):
        publish(where, ["t"])
