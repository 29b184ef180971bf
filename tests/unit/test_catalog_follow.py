"""A version that follows another: the rows of a full run, most files taken as they are."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import catalogs.commit
import catalogs.takeover
from catalogs import open_catalog, verify
from catalogs.commit import commit
from catalogs.follow import open_followed
from catalogs.layout import Layout, Product
from engine.errors import CommitError, PlanError
from tests.unit.catalog_commits import Crash, multiset, published_bytes
from tests.unit.catalog_rows import layout
from tests.unit.followed import (
    CHANGES,
    OLD,
    PRODUCT,
    Change,
    again,
    cut_alike,
    first,
    follow,
    followed,
    region,
    second,
)
from tests.unit.test_catalog_side import WIDE, with_side

ALL = CHANGES["all of it at once"]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of v1; to be copied, never to be changed."""
    return first(tmp_path_factory.mktemp("first")).root


@pytest.fixture
def where(published: Path, tmp_path: Path) -> Layout:
    """v2, with v1 beside it."""
    shutil.copytree(published / "stars", tmp_path / "root" / "stars")
    return second(layout(tmp_path / "root"))


def partitions(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("Npix=*.parquet"))}


def shared(where: Layout) -> set[str]:
    """The partitions that are one file in both versions."""
    old, new = (partitions(where.root / "stars" / version) for version in ("v1", "v2"))
    return {name for name in {*old} & {*new} if old[name].samefile(new[name])}


@pytest.mark.parametrize("name", CHANGES)
def test_it_is_a_full_run_with_the_same_cut(
    where: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    change, old = CHANGES[name], where.root / "stars" / "v1"
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    report = follow(where, change)
    rows = open_catalog(where.catalog).to_arrow()
    assert multiset(rows) == multiset(pa.concat_tables(change.every.values()))
    assert verify(where.catalog).rows == report.rows == sum(map(len, change.every.values()))
    full = cut_alike(tmp_path / "full", where, change, monkeypatch)
    assert published_bytes(where) == published_bytes(full)
    same = {n for n, p in partitions(old).items() if published_bytes(where).get(n) == p.read_bytes()}
    assert shared(where) == same, "whatever did not change is one file"
    assert len(same) == 0 if name == "all" else len(same) > 2
    manifest, plain = (json.loads(one.manifest.read_bytes()) for one in (where, full))
    for key in ("rows", "flag_counts", "tasks", "failures", "columns", "files"):
        assert manifest[key] == plain[key], key
    assert manifest["follows"]["partitions"] == len(same)
    assert manifest["follows"]["rows"] == sum(len(OLD[task]) for task in change.kept)
    assert before == {path: path.read_bytes() for path in before}
    shutil.rmtree(old)
    assert verify(where.catalog).rows == report.rows
    assert follow_again_is_done(where)


def follow_again_is_done(where: Layout) -> bool:
    return commit(where, [], PRODUCT, manifest={}, failed_allowed=0).already


def test_pixels_stay_and_new_ones_come_only_where_there_were_none(where: Layout) -> None:
    follow(where, ALL)
    old, new = (set(partitions(where.root / "stars" / version)) for version in ("v1", "v2"))
    assert len(old - new) > 0, "t3 left, and its pixels with it"
    assert len(new - old) > 0, "region 5 was empty"
    rows = open_catalog(where.catalog).to_arrow()
    assert {"t3", "t2"}.isdisjoint(rows["task_id"].to_pylist())


@pytest.mark.parametrize("step", range(6))
def test_a_crash_in_any_step_is_resumed_to_the_same_bytes(
    where: Layout, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """In the n-th map of the commit; 5: after two partitions were linked."""
    shutil.copytree(published / "stars", tmp_path / "other" / "stars")
    other = replace(where, root=tmp_path / "other")
    follow(other, ALL)
    calls = iter(range(9))

    def dying(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
        dies = next(calls) == step
        for number, item in enumerate(items):
            if dies and number == len(items) // 2:
                raise Crash
            yield function(item)

    links, real = iter(range(99)), catalogs.takeover.take

    def take(*given: Any) -> Any:
        if step == 5 and next(links) == 2:
            raise Crash
        return real(*given)

    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(catalogs.takeover, "take", take)
        follow(where, ALL, mapper=dying)
    assert not where.catalog.exists()
    follow(where, ALL)
    assert published_bytes(where) == published_bytes(other)
    assert shared(where) == shared(other)
    assert not (where.scratch.exists() or where.partial.exists())


def test_where_links_are_not_possible_files_are_copied(
    where: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    follow(where, CHANGES["append"])
    assert verify(where.catalog).rows == 810
    assert shared(where) == set()


def test_keys_of_old_rows_that_come_again_are_refused(where: Layout) -> None:
    twice = Change({"r2": again(OLD["t2"], "r2")})
    with pytest.raises(CommitError, match=r"(?s)150 keys .* occur more than once.*tasks r2, t2"):
        follow(where, twice)
    some = again(OLD["t1"].slice(0, 9), "x1")
    replaced = Change({"r2": again(OLD["t2"], "r2"), "x1": some}, kept=("t0", "t1"))
    with pytest.raises(CommitError, match=r"(?s)9 keys .* occur more than once.*tasks t1, x1"):
        follow(where, replaced)
    assert not where.catalog.exists()


def test_a_longer_text_is_told_and_files_without_it_stay(where: Layout) -> None:
    rows = region(5, "long")
    texts = pa.array(["a very long kind of object"] * len(rows))
    rows = rows.set_column(
        rows.schema.get_field_index("object_type"), rows.schema.field("object_type"), texts
    )
    follow(where, Change({"long": rows}))
    assert verify(where.catalog).rows == 900
    assert len(shared(where)) > len(partitions(where.root / "stars" / "v1")) / 2
    said = pq.read_schema(where.catalog / "dataset" / "_common_metadata").metadata
    assert said[b"table::len::object_type"] == b"26"
    third = replace(second(where), version="v3", plan_digest="99" * 32)
    found = replace(open_followed(third, "v2", PRODUCT), kept=frozenset([*OLD, "long"]))
    assert found.widths()["object_type"] == 26
    commit(third, [], PRODUCT, manifest={}, failed_allowed=0, followed=found)
    assert published_bytes(third) == published_bytes(where)


def test_a_partition_that_was_damaged_is_named_before_anything_is_built(where: Layout) -> None:
    victim = sorted(partitions(where.root / "stars" / "v1").values())[1]
    content = bytearray(victim.read_bytes())
    content[1000] ^= 1
    victim.write_bytes(content)
    with pytest.raises(CommitError, match=rf"{victim}, of the version that is followed, is not what"):
        follow(where, CHANGES["append"])
    assert not (where.catalog.exists() or list(where.partial.rglob("*.parquet")))


def lost(old: Path) -> None:
    shutil.rmtree(old)


def shortened(old: Path) -> None:
    path = next(iter(partitions(old).values()))
    path.write_bytes(path.read_bytes()[:-1])


def edited(old: Path) -> None:
    path = old / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"tasks": 5', b'"tasks": 6'))


def garbled(old: Path) -> None:
    (old / "manifest.json").write_bytes(b"{")


DAMAGES = [
    (lost, r"follows = \"v1\", but .*v1 is no published catalog: publish it first"),
    (shortened, r"v1 cannot be followed: dataset/.* is missing or has another size"),
    (edited, r"v1 cannot be followed: manifest.json is not the one that hats.properties names"),
    (garbled, r"v1 cannot be followed: manifest.json: .*leave \[catalog\] follows out"),
]


@pytest.mark.parametrize(("harm", "said"), DAMAGES)
def test_a_version_that_is_not_sound_is_refused(
    where: Layout, harm: Callable[[Path], None], said: str
) -> None:
    harm(where.root / "stars" / "v1")
    with pytest.raises(PlanError, match=said):
        followed(where, tuple(OLD))


def test_other_columns_or_keys_are_refused(where: Layout) -> None:
    fewer = Product(keys=PRODUCT.keys, columns=PRODUCT.columns[:-1])
    with pytest.raises(PlanError, match=r"its columns are not those of this run: "):
        open_followed(where, "v1", fewer)
    with pytest.raises(PlanError, match=r"its keys are survey/.*, not targetid"):
        open_followed(where, "v1", replace(PRODUCT, keys=("targetid",)))


def test_nothing_at_all_is_not_published(where: Layout) -> None:
    with pytest.raises(CommitError, match="nothing to publish"):
        follow(where, Change({}, kept=()))


WIDER = replace(PRODUCT, side=(WIDE,))
OLD_WIDE = {name: with_side(rows) for name, rows in OLD.items()}


@pytest.mark.parametrize("dies", [False, True])
def test_a_side_catalog_follows_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies: bool) -> None:
    one = first(tmp_path / "root", OLD_WIDE, WIDER)
    where = second(one)
    change = Change({name: with_side(rows) for name, rows in ALL.new.items()}, ALL.kept)
    if dies:
        calls, real = iter(range(9)), catalogs.commit.publish

        def between(*given: Any) -> None:
            if next(calls) == 1:
                raise Crash
            real(*given)

        with monkeypatch.context() as patch, pytest.raises(Crash):
            patch.setattr(catalogs.commit, "publish", between)
            follow(where, change, product=WIDER)
        shutil.rmtree(where.scratch)
    follow(where, change, product=WIDER)
    every = {name: OLD_WIDE[name] for name in change.kept} | dict(change.new)
    full = cut_alike(tmp_path / "full", where, Change(every, kept=()), monkeypatch, WIDER)
    for here, there in zip(where.parts, full.parts, strict=True):
        assert published_bytes(here) == published_bytes(there)
    beside, older = (partitions(part.parts[1].catalog) for part in (where, one))
    assert sum(beside[n].samefile(older[n]) for n in {*beside} & {*older}) == len(shared(where)) > 3
    for part in one.parts:
        shutil.rmtree(part.catalog)
    verify(where.catalog)
    with pytest.raises(PlanError, match="no published catalog"):
        open_followed(where, "v1", WIDER)


def test_without_its_side_a_version_cannot_be_followed_by_one_with(where: Layout) -> None:
    with pytest.raises(PlanError, match=r"stars-side/v1 is no published catalog"):
        open_followed(replace(where, has_side=True), "v1", WIDER)
