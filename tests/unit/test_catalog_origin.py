"""A row of a catalog back to its own file, also where a shard groups many."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from catalogs import open_catalog
from catalogs.manifest import Manifest, origin
from catalogs.query import find
from engine.types import Member, Shard
from jobs import show
from jobs.run import _files
from tests.unit.catalog_rows import FIRST_ID, layout, publish, staged, tasks

SHARDS: dict[str, Any] = {"one": "a.fits", "some": [["b.fits", 1], ["c.fits", 3], ["d.fits", 1]]}


@pytest.mark.parametrize(
    ("shard", "row", "expected"),
    [
        ("one", 7, ("a.fits", 7)),
        ("some", 0, ("b.fits", 0)),
        ("some", 1, ("c.fits", 0)),
        ("some", 3, ("c.fits", 2)),
        ("some", 4, ("d.fits", 0)),
        ("some", 5, ("some", 5)),
        ("some", -1, ("some", -1)),
        ("unknown", 2, ("unknown", 2)),
    ],
)
def test_a_row_of_a_shard_is_found_in_its_file(shard: str, row: int, expected: tuple[str, int]) -> None:
    manifest: Any = {"shards": SHARDS}
    assert origin(manifest, shard, row) == expected
    older: Manifest = {key: value for key, value in manifest.items() if key != "shards"}  # type: ignore
    assert origin(older, shard, row) == (shard, row)


def member(path: str, rows: int) -> Member:
    return Member(path=path, size=1, rows=rows)


def test_the_manifest_keeps_the_files_that_have_rows() -> None:
    """Of a spectrum in several files the first has the rows; a group of one file is that file."""
    group = [member("a1", 2), member("a2", 0), member("b1", 1)]
    for members, kept in ((group, [("a1", 2), ("b1", 1)]), (group[:2], "a1"), ([], "a1")):
        shard = Shard(path="a1", size=1, rows=3, shard_id="x", members=tuple(members))
        assert _files(shard) == kept


def test_explain_names_the_file_of_a_group_and_survives_nulls(tmp_path: Path) -> None:
    where = layout(tmp_path)
    made = tasks(1, 5)
    staged(where, made)
    files = [["b [x].fits", 2], ["c.fits", 3]]
    publish(where, list(made), also={"shards": {"shard-t000": files}})
    manifest = open_catalog(where.catalog).manifest
    row = find(where.catalog, [str(FIRST_ID)])
    number = row["row_in_shard"]
    assert (f"{files[number > 1][0]}", f"{number - 2 * (number > 1)} of its") == said(row, manifest)
    for name in ("shard_id", "row_in_shard"):
        assert "unknown: shard_id or row_in_shard is NULL" in printed(row | {name: None}, manifest)
    assert printed(row | {"task_id": None}, manifest)


def said(row: dict[str, Any], manifest: Manifest) -> tuple[str, str]:
    """The file, and the start of the words on the row."""
    file, number = printed(row, manifest).splitlines()[:2]
    return file.strip().removeprefix("file").strip(), number.strip().removeprefix("row").strip()[:8]


def printed(row: dict[str, Any], manifest: Manifest) -> str:
    console = Console(width=200)
    with console.capture() as text:
        console.print(show.explained(row, manifest))
    return text.get()
