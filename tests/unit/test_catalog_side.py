"""A side catalog: the same rows in the same order and partitions, published after the main one."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import catalogs.commit
from catalogs import open_catalog, query, verify
from catalogs.commit import commit
from catalogs.layout import Layout, Product
from catalogs.place import check_place
from catalogs.report import CommitReport
from catalogs.side import differences
from engine.columns import schema
from engine.errors import CommitError, PlanError, VerifyError
from engine.types import Column
from tests.unit.catalog_commits import NAMES, TASKS, Crash, published_bytes
from tests.unit.catalog_rows import COLUMNS, KEY_NAMES, layout, staged, stars

pytestmark = pytest.mark.usefixtures("small_groups")

WIDE = Column(
    name="covariance",
    type=pa.list_(pa.field("element", pa.float32()), 3),
    ucd="stat.covariance",
    description="Covariance",
)


def with_side(rows: pa.Table) -> pa.Table:
    """Staged rows with a covariance: numbers that follow from the id, NULL without a result."""
    number_N = rows["targetid"].to_numpy() % 1000
    flat = pa.array(
        np.repeat(number_N, 3).astype(np.float32) + np.tile([0, 0.25, 0.5], len(rows)), pa.float32()
    )
    none = pc.is_null(rows["teff"]).combine_chunks()
    wide = pa.FixedSizeListArray.from_arrays(flat, type=WIDE.type, mask=none)
    return rows.append_column(schema((WIDE,)).field(0), wide)


SIDE_TASKS = {name: with_side(rows) for name, rows in TASKS.items()}


def place(root: Path, plan: str = "ab" * 32) -> Layout:
    return replace(layout(root, plan=plan), has_side=True)


def publish(where: Layout, target_bytes: int = 20_000) -> CommitReport:
    product = Product(keys=KEY_NAMES, columns=COLUMNS, side=(WIDE,), target_bytes=target_bytes)
    return commit(where, NAMES, product, manifest={}, failed_allowed=0)


def made(root: Path, tables: Mapping[str, pa.Table] = SIDE_TASKS, plan: str = "ab" * 32) -> Layout:
    where = place(root, plan)
    staged(where, tables)
    publish(where)
    return where


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """Both catalogs, published without a crash; never to be changed."""
    return made(tmp_path_factory.mktemp("both"))


def bytes_of(where: Layout) -> list[dict[str, bytes]]:
    return [published_bytes(part) for part in where.parts]


def test_the_main_catalog_is_what_it_is_without_a_side(both: Layout, reference: Layout) -> None:
    assert published_bytes(both) == published_bytes(reference)
    manifest = open_catalog(both.catalog).manifest
    assert manifest.get("side") == {"name": "stars-side", "version": "v1"}
    assert "side" not in open_catalog(reference.catalog).manifest
    assert not (reference.root / "stars-side").exists()


def test_both_verify_and_have_the_same_rows_in_the_same_order_and_partitions(both: Layout) -> None:
    main, side = (open_catalog(part.catalog) for part in both.parts)
    assert verify(main.path).rows == verify(side.path).rows == 900
    assert list(differences(main.path, side.path)) == []
    for one, other in zip(main.files, side.files, strict=True):
        assert one.relative_to(main.path) == other.relative_to(side.path)
    keys = ["_healpix_29", *KEY_NAMES, "ra", "dec", "flags", "shard_id", "row_in_shard"]
    assert main.to_arrow(keys).equals(side.to_arrow(keys))
    assert "covariance" not in main.schema.names
    assert "teff" not in side.schema.names
    assert side.manifest.get("main") == {"name": "stars", "version": "v1"}
    assert (both.root / "stars-side" / "v1").is_dir()
    for name in ("partition_info.csv", "skymap.fits"):
        assert (main.path / name).read_bytes() == (side.path / name).read_bytes()


def test_every_row_has_its_own_numbers_or_none(both: Layout) -> None:
    rows = query(both.parts[1].catalog, "SELECT targetid, covariance, flags FROM catalog").to_pylist()
    for row in rows:
        first = row["targetid"] % 1000
        expected = None if row["flags"] & 1 else [first, first + 0.25, first + 0.5]
        assert row["covariance"] == expected
    assert sum(row["covariance"] is None for row in rows) > 0


def test_hats_astropy_and_polars_read_it(both: Layout) -> None:
    import polars as pl
    from astropy.table import Table
    from hats.io.validation import is_valid_catalog

    side = open_catalog(both.parts[1].catalog)
    assert is_valid_catalog(side.path, strict=True)
    known = side.rows - side.to_arrow(["covariance"])["covariance"].null_count
    good = [Table.read(f, format="parquet", filters=[("flag_bad", "=", False)]) for f in side.files]
    assert sum(len(table) for table in good) == known
    assert all(table["covariance"].shape[1:] == (3,) for table in good)
    table = side.to_astropy(["targetid", "covariance"])
    assert table["covariance"].shape == (900, 3)
    assert int((~np.asarray(table["covariance"].mask)[:, 0]).sum()) == known
    assert table["covariance"].description == "Covariance"
    scanned = pl.scan_parquet([*side.files], hive_partitioning=False).select("covariance").collect()
    assert scanned.schema["covariance"] == pl.Array(pl.Float32, 3)


def test_a_wide_side_makes_smaller_partitions_of_both(tmp_path: Path) -> None:
    wide = replace(WIDE, type=pa.list_(pa.field("element", pa.float32()), 300))
    rng = np.random.default_rng(1)
    tables = {}
    for name, rows in TASKS.items():
        flat = pa.array(rng.normal(size=300 * len(rows)).astype(np.float32))
        none = pc.is_null(rows["teff"]).combine_chunks()
        column = pa.FixedSizeListArray.from_arrays(flat, type=wide.type, mask=none)
        tables[name] = rows.append_column(schema((wide,)).field(0), column)
    where = place(tmp_path)
    staged(where, tables)
    product = Product(keys=KEY_NAMES, columns=COLUMNS, side=(wide,), target_bytes=100_000)
    commit(where, NAMES, product, manifest={}, failed_allowed=0)
    main, side = (open_catalog(part.catalog) for part in where.parts)
    assert len(main.files) == len(side.files) > 5
    assert np.median([file.stat().st_size for file in side.files]) < 110_000


TWICE = ("write_derived", "write_manifest", "write_properties", "verify_one", "publish")
CRASHES = [
    # The sky is cut once, for both.
    ("align", 1, "after"),
    *((name, call, when) for name in TWICE for call, when in ((1, "after"), (2, "before"), (2, "after"))),
]


def dying(function: str, call: int, when: str) -> Callable[..., Any]:
    """A function of the commit that dies before or after its n-th call."""
    real, calls = getattr(catalogs.commit, function), iter(range(1, 99))

    def dies(*args: Any, **named: Any) -> Any:
        now = next(calls) == call
        if now and when == "before":
            raise Crash
        result = real(*args, **named)
        if now:
            raise Crash
        return result

    return dies


@pytest.mark.parametrize(("function", "call", "when"), CRASHES)
def test_a_crash_anywhere_is_resumed_to_the_same_bytes(
    tmp_path: Path, both: Layout, monkeypatch: pytest.MonkeyPatch, function: str, call: int, when: str
) -> None:
    where = place(tmp_path)
    staged(where, SIDE_TASKS)
    with monkeypatch.context() as patch:
        patch.setattr(catalogs.commit, function, dying(function, call, when))
        with pytest.raises(Crash):
            publish(where)
    published = [part.catalog.exists() for part in where.parts]
    last = function == "publish"
    assert published == [last, last and (call, when) == (2, "after")]
    assert where.scratch.exists()
    publish(where)
    assert bytes_of(where) == bytes_of(both)
    assert not where.scratch.exists()
    assert not any(part.partial.exists() for part in where.parts)
    assert publish(where).already


@pytest.mark.parametrize("lost", ["scratch", "partial"])
def test_what_is_left_after_the_main_one_can_be_made_from_the_staging(
    tmp_path: Path, both: Layout, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    where = between(tmp_path, monkeypatch)
    shutil.rmtree(where.scratch if lost == "scratch" else where.parts[1].partial)
    before = (where.catalog / "hats.properties").stat().st_mtime_ns
    report = publish(where)
    assert (report.already, report.side) == (False, where.root / "stars-side" / "v1")
    assert (where.catalog / "hats.properties").stat().st_mtime_ns == before
    assert bytes_of(where) == bytes_of(both)
    verify(where.catalog)


def between(root: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A commit that died between its two catalogs."""
    where = place(root)
    staged(where, SIDE_TASKS)
    with monkeypatch.context() as patch:
        patch.setattr(catalogs.commit, "publish", dying("publish", 2, "before"))
        with pytest.raises(Crash):
            publish(where)
    return where


def test_a_main_catalog_without_the_side_that_it_names_does_not_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = between(tmp_path, monkeypatch)
    with pytest.raises(VerifyError, match=r"stars-side/v1: the side catalog is missing.*abundant commit"):
        verify(where.catalog)


def test_other_rows_never_go_beside_a_published_catalog(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = between(tmp_path, monkeypatch)
    staged(where, {**SIDE_TASKS, "t003": with_side(stars(150, task_id="t003", first=5000))})
    with pytest.raises(CommitError, match=r"(?s)does not fit .*stars/v1.*move .*stars/v1 away"):
        publish(where)
    assert not where.parts[1].catalog.exists()
    shutil.rmtree(where.catalog)
    publish(where)
    verify(where.catalog)


def test_a_main_catalog_that_was_deleted_is_made_again(tmp_path: Path, both: Layout) -> None:
    where = made(tmp_path)
    shutil.rmtree(where.catalog)
    assert not publish(where).already
    assert bytes_of(where) == bytes_of(both)


def test_verify_tells_when_the_two_do_not_belong_together(tmp_path: Path) -> None:
    one = made(tmp_path / "one")
    rows = {**SIDE_TASKS, "t003": with_side(stars(150, task_id="t003", first=5000))}
    other = made(tmp_path / "other", rows, plan="cd" * 32)
    side = one.parts[1].catalog
    shutil.rmtree(side)
    shutil.copytree(other.parts[1].catalog, side)
    with pytest.raises(VerifyError, match=r"is of plan cdcdcdcdcdcd, the main catalog of abababababab"):
        verify(one.catalog)
    assert any("rows are not those" in what for what in differences(one.catalog, side))
    assert verify(side).rows == 900


def test_verify_of_the_main_one_finds_damage_in_the_side(tmp_path: Path) -> None:
    where = made(tmp_path)
    side = open_catalog(where.parts[1].catalog)
    side.files[2].write_bytes(side.files[2].read_bytes()[:-1])
    with pytest.raises(VerifyError, match=r"stars-side/v1: .*has \d+ bytes, the manifest says"):
        verify(where.catalog)


@pytest.mark.parametrize("fault", ["null", "nan", "there"])
def test_a_side_that_no_catalog_may_hold_is_not_published(tmp_path: Path, fault: str) -> None:
    rows = SIDE_TASKS["t002"].to_pylist()
    good = next(row for row in rows if row["covariance"] is not None)
    none = next(row for row in rows if row["covariance"] is None)
    said = {"null": "NULL without a flag", "nan": "are NaN", "there": "there though flagged NO_RESULT"}
    if fault == "there":
        none["covariance"] = [1.0, 2.0, 3.0]
    else:
        good["covariance"] = None if fault == "null" else [1.0, float("nan"), 2.0]
    where = place(tmp_path)
    wrong = pa.Table.from_pylist(rows, schema=SIDE_TASKS["t002"].schema)
    staged(where, {**SIDE_TASKS, "t002": wrong})
    with pytest.raises(
        CommitError, match=rf"t002: 1 values of covariance {said[fault]}|t002: 1 .*{said[fault]}"
    ):
        publish(where)
    assert not any(part.catalog.exists() or part.partial.exists() for part in where.parts)


def test_the_place_of_the_side_catalog_must_be_free_too(tmp_path: Path) -> None:
    where = place(tmp_path)
    check_place(where)
    (tmp_path / "stars-side" / "v1").mkdir(parents=True)
    (tmp_path / "stars-side" / "v1" / "notes.txt").write_text("mine")
    with pytest.raises(PlanError, match=r"stars-side/v1 is in the way"):
        check_place(where)
