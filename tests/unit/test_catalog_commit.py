"""Commit: every staged row once, the same bytes whatever happens on the way, or nothing at all."""

import json
import pickle
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalogs.commit
from catalogs.layout import BLOOM_COLUMNS, Layout
from catalogs.pixels import GROUP_FILES, Tally, align, group, slots
from catalogs.stage import receipts
from engine.columns import schema
from engine.errors import CommitError, PlanError
from tests.unit.catalog_rows import (
    COLUMNS,
    FIRST_ID,
    KEY_NAMES,
    Rows,
    layout,
    publish,
    staged,
    stars,
    table,
    tasks,
)

TASKS = tasks(6, 150)
NAMES = tuple(TASKS)


def published_bytes(where: Layout) -> dict[str, bytes]:
    """Everything of a catalog that must not depend on how it was made."""
    files = sorted(path for path in where.catalog.rglob("*") if path.is_file())
    relative = {path.relative_to(where.catalog).as_posix(): path.read_bytes() for path in files}
    return {name: data for name, data in relative.items() if name not in ("manifest.json", "hats.properties")}


def multiset(rows: pa.Table) -> Counter[tuple[Any, ...]]:
    return Counter(tuple(row.values()) for row in rows.to_pylist())


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    where = layout(tmp_path_factory.mktemp("reference"))
    staged(where, TASKS)
    publish(where, NAMES)
    return where


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two staged files at a time, so that a partition has several sources."""
    monkeypatch.setattr("catalogs.pixels.GROUP_FILES", 2)


def test_every_staged_row_is_published_once_and_nothing_else(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    report = publish(where, NAMES)
    rows = pds.dataset([str(path) for path in where.catalog.rglob("Npix=*.parquet")]).to_table()
    assert multiset(rows) == multiset(pa.concat_tables(TASKS.values()))
    assert report.rows == 900 == report.ok + report.flagged + report.no_result
    assert report.partitions > 3
    assert rows.schema.equals(schema(COLUMNS))


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
    monkeypatch.setattr("catalogs.pixels.GROUP_FILES", 512)
    where = layout(tmp_path)
    staged(where, TASKS)
    publish(where, NAMES)
    assert published_bytes(where) == published_bytes(reference)


class Crash(Exception):
    """A killed process, as far as files can tell."""


def crashing(step: str, after: int) -> Callable[..., Iterable[Any]]:
    """A map that dies in a step (the n-th map of the commit) after so many items."""
    calls = iter(("histogram", "split", "reduce"))

    def mapper(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
        dies = next(calls) == step
        for number, item in enumerate(items):
            if dies and number == after:
                raise Crash
            yield function(item)

    return mapper


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
    "function", ["align", "write_atomic", "write_derived", "write_manifest", "write_properties", "_publish"]
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
    assert where.catalog.exists() == (function == "_publish" and when == "after")
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


def test_a_staged_file_that_changed_is_refused(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, tasks(2, 50))
    path = where.data / "t001.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[200] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CommitError, match=r"t001\.parquet changed after it was staged"):
        publish(where, ["t000", "t001"])


@pytest.mark.parametrize("resumed", [False, True])
def test_receipts_that_miscount_are_refused_with_both_numbers(tmp_path: Path, resumed: bool) -> None:
    where = layout(tmp_path)
    staged(where, tasks(2, 50))
    if resumed:  # a cut that was saved for the true receipts is no excuse
        with pytest.raises(Crash):
            publish(where, ["t000", "t001"], mapper=crashing("reduce", 0))
    path = where.receipts / "t001.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"rows": 49}))
    with pytest.raises(CommitError, match="the receipts say 99 rows, the staged files hold 100"):
        publish(where, ["t000", "t001"])
    assert not where.catalog.exists()


def test_other_columns_are_refused(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, {"t": stars(5).drop_columns(["teff"])})
    with pytest.raises(CommitError, match=r"t\.parquet has other columns: lacks \['teff float'\]"):
        publish(where, ["t"])


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


def test_hats_and_lsdb_accept_the_catalog(reference: Layout) -> None:
    import lsdb
    from hats.io.validation import is_valid_catalog

    assert is_valid_catalog(reference.catalog, strict=True)
    opened = lsdb.open_catalog(reference.catalog)
    assert len(opened) == 900
    ids = set(opened[["targetid"]].compute()["targetid"].tolist())
    assert ids == set(range(FIRST_ID, FIRST_ID + 1800, 2))
    info = opened.hc_structure.catalog_info
    assert (info.healpix_column, info.healpix_order) == ("_healpix_29", 29)


def test_partitions_are_sorted_and_encoded_as_decided(reference: Layout) -> None:
    for path in reference.catalog.rglob("Npix=*.parquet"):
        rows = pq.ParquetFile(path).read()
        assert rows.equals(rows.sort_by([(name, "ascending") for name in ("_healpix_29", *KEY_NAMES)]))
        group = pq.read_metadata(path).row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        assert {column.compression for column in columns.values()} == {"ZSTD"}
        assert "DELTA_BINARY_PACKED" in columns["_healpix_29"].encodings
        assert (
            "BYTE_STREAM_SPLIT" in columns["teff"].encodings
            and "BYTE_STREAM_SPLIT" in columns["ra"].encodings
        )
        assert "RLE_DICTIONARY" in columns["program"].encodings
        assert all(column.has_column_index for column in columns.values())


def test_bloom_filters_are_on_ids_only(reference: Layout) -> None:
    import duckdb

    path = next(reference.catalog.rglob("Npix=*.parquet"))
    sql = f"SELECT path_in_schema FROM parquet_metadata('{path}') WHERE bloom_filter_offset IS NOT NULL"
    with duckdb.connect() as con:
        assert {row[0] for row in con.execute(sql).fetchall()} == set(BLOOM_COLUMNS)


def test_staged_files_are_grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = layout(tmp_path)
    staged(where, tasks(5, 20))
    found = receipts(where)
    monkeypatch.setattr("catalogs.pixels.GROUP_BYTES", found[0].bytes * 3)
    monkeypatch.setattr("catalogs.pixels.GROUP_FILES", GROUP_FILES)
    assert [len(one.receipts) for one in group(where.staging, found)] in ([3, 2], [2, 2, 1])
    monkeypatch.setattr("catalogs.pixels.GROUP_BYTES", 1)
    assert [len(one.receipts) for one in group(where.staging, found)] == [1] * 5


FINEST = 4
CLUMP = 2 * (29 - FINEST)
indices = st.lists(st.integers(0, 12 * 4**29 - 1), min_size=1, max_size=60)
pixel_numbers = st.integers(0, 12 * 4**FINEST - 1)
clumps = st.tuples(pixel_numbers, st.integers(1, 50)).map(lambda c: [c[0] << CLUMP] * c[1])


@given(index=st.tuples(indices, clumps).map(lambda both: both[0] + both[1]), target=st.integers(1, 5000))
@settings(max_examples=150, deadline=None)
def test_any_positions_fall_into_exactly_one_partition(index: list[int], target: int) -> None:
    index_N = np.array(index)
    found, counts = np.unique(index_N >> CLUMP, return_counts=True)
    tally = Tally(indexes=tuple(found), counts=tuple(counts), bytes=100 * len(index), widths={})
    with pytest.MonkeyPatch.context() as patch:  # hats' loops over the sky are slow at order 8
        patch.setattr("catalogs.pixels.SKY_ORDER", FINEST)
        pixels = align(tally, target)
    homes = [[p for p in pixels if p.number == i >> 2 * (29 - p.order)] for i in index]
    assert all(len(home) == 1 for home in homes)
    assert [pixels[slot] for slot in slots(pixels, index_N)] == [home[0] for home in homes]
    pairs = list(zip(index, homes, strict=True))
    inside = {pixel: [i for i, home in pairs if home[0] == pixel] for pixel in pixels}
    assert all(inside.values())
    most = max(1, target // 100)
    assert all(len(rows) <= most or len({i >> CLUMP for i in rows}) == 1 for rows in inside.values())


def test_deleting_the_staging_does_not_harm_the_catalog(tmp_path: Path) -> None:
    where = layout(tmp_path)
    staged(where, TASKS)
    publish(where, NAMES)
    shutil.rmtree(where.staging)
    assert publish(where, NAMES).already
