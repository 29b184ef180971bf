"""Schema evolution: a newer program opens, asks, verifies, explains and exports what an older one published.

Older catalogs are made by taking from a new one what did not exist then: columns, flags, keys of the
manifest, the VOTable in the footers. A catalog of a newer program says so instead of looking damaged.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalogs import open_catalog, query, verify
from catalogs.commit import commit
from catalogs.export.release import export
from catalogs.export.request import Asked
from catalogs.layout import Product, sha256_file
from catalogs.manifest import FORMAT
from catalogs.query import find
from engine.errors import InputError
from engine.flags import FLAGS
from jobs import show
from jobs.trace import trace
from tests.unit.catalog_rows import COLUMNS, FIRST_ID, KEY_NAMES, layout, staged, tasks
from tests.unit.exports import FLAG_WORDS, PLAN, catalog

# What catalogs had from the start; scores, sources and second opinions came later.
LATER = (
    "support_",
    "wiggle",
    "largest_gap",
    "position_source",
    "read_problem",
    "auxiliary_missing",
    "rv_check",
)
FEW_FLAGS = FLAG_WORDS[:12]
# Keys that only the caller of a commit gives, and those that came later.
OPTIONAL = ("format", "plan", "flags", "shards", "warnings", "created")


def older(root: Path, *, flags: Sequence[dict[str, Any]] = FEW_FLAGS) -> Path:
    """A catalog with fewer columns and flags than the present program would make."""
    where = layout(root)
    columns = tuple(column for column in COLUMNS if not column.name.startswith(LATER))
    made = {name: rows.select([column.name for column in columns]) for name, rows in tasks(2, 60).items()}
    staged(where, made)
    commit(
        where,
        list(made),
        Product(keys=KEY_NAMES, columns=columns, target_bytes=20_000),
        manifest={"plan": PLAN, "flags": list(flags)},
        failed_allowed=0,
    )
    assert isinstance(where.catalog, Path)
    return where.catalog


def reseal(folder: Path) -> None:
    """Make the properties vouch for a manifest that was altered."""
    file = folder / "hats.properties"
    lines = file.read_text().splitlines()
    sealed = f"abundant_manifest_sha256={sha256_file(folder / 'manifest.json')}"
    file.write_text(
        "\n".join(sealed if line.startswith("abundant_manifest") else line for line in lines) + "\n"
    )


def rewrite(folder: Path, **changes: Any) -> None:
    """Change keys of the manifest; None takes one away."""
    file = folder / "manifest.json"
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    reseal(folder)


def works(folder: Path, out: Path) -> None:
    """Everything that a person does with a catalog."""
    opened = open_catalog(folder)
    rows = opened.to_arrow()
    assert verify(folder).rows == len(rows) == opened.rows
    assert len(opened.to_pandas()) == len(opened.to_astropy(["targetid", "teff"])) == opened.rows
    asked = query(
        folder,
        "SELECT count(*) AS n, count_if(good('teff') AND NOT flag_set('NO_RESULT')) AS good FROM catalog",
    )
    assert asked.to_pylist()[0]["n"] == opened.rows
    row = find(folder, [str(FIRST_ID)])
    table = show.explained(row, opened.manifest)
    assert table.row_count > 10 and trace(row, opened.manifest) is not None
    assert export(Asked(catalog=folder, out=out, sample=10), "release").rows == opened.rows


def test_fewer_columns_and_flags(tmp_path: Path) -> None:
    old = older(tmp_path)
    names = open_catalog(old).schema.names
    assert not {"wiggle", "read_problem"} & {*names} and {"teff", "rv"} <= {*names}
    works(old, tmp_path / "release")
    with pytest.raises(InputError, match="no flag 'LARGE_GAP'"):
        query(old, "SELECT flag_set('LARGE_GAP') FROM catalog")
    page = (tmp_path / "release" / "datamodel.md").read_text()
    assert "LOW_SNR" in page and "LARGE_GAP" not in page


@pytest.mark.parametrize("lacking", ["format", "plan", "flags", "all"])
def test_keys_that_the_manifest_did_not_have_yet(tmp_path: Path, lacking: str) -> None:
    old = catalog(tmp_path)
    rewrite(old, **dict.fromkeys(OPTIONAL if lacking == "all" else [lacking]))
    works(old, tmp_path / "release")


def test_flags_without_bits_and_with_words_of_old(tmp_path: Path) -> None:
    unnumbered = [{key: value for key, value in flag.items() if key != "bit"} for flag in FEW_FLAGS]
    works(older(tmp_path / "a", flags=unnumbered), tmp_path / "release")
    old = older(
        tmp_path / "b", flags=[{"bit": 0, "name": "FAILED", "severity": "bad", "text": "nothing came"}]
    )
    row = open_catalog(old).to_arrow().to_pylist()[0] | {"flags": 1}
    cells = [*show.explained(row, open_catalog(old).manifest).columns[1].cells]
    assert "bad: nothing came" in cells and FLAGS[0].text not in " ".join(map(str, cells))


def test_footers_without_a_votable_or_any_metadata(tmp_path: Path) -> None:
    old = catalog(tmp_path)
    manifest = json.loads((old / "manifest.json").read_text())
    for name in [name for name, file in manifest["files"].items() if name.startswith("dataset/Norder")]:
        bare(old / name)
    bare(old / "dataset" / "_common_metadata")
    footers = [
        pq.read_metadata(old / name) for name in manifest["files"] if name.startswith("dataset/Norder")
    ]
    for footer, name in zip(
        footers, (n for n in manifest["files"] if n.startswith("dataset/Norder")), strict=True
    ):
        footer.set_file_path(name.removeprefix("dataset/"))
    pq.write_metadata(
        pq.read_schema(old / "dataset" / "_common_metadata"), old / "dataset" / "_metadata", footers
    )
    for name, file in manifest["files"].items():
        file |= {"bytes": (old / name).stat().st_size, "sha256": sha256_file(old / name)}
    rewrite(old, files=manifest["files"])
    assert open_catalog(old).schema.metadata is None
    works(old, tmp_path / "release")


def bare(path: Path) -> None:
    """Write a Parquet file again without the metadata of its schema and fields."""
    table = pq.read_table(path, partitioning=None)
    schema = pa.schema([pa.field(field.name, field.type) for field in table.schema])
    if path.name == "_common_metadata":
        pq.write_metadata(schema, path, store_schema=False)
    else:
        pq.write_table(table.cast(schema), path, store_schema=False, row_group_size=100_000)


def test_a_new_catalog_tells_its_format_and_older_readers_may_add_keys(tmp_path: Path) -> None:
    new = catalog(tmp_path)
    assert json.loads((new / "manifest.json").read_text())["format"] == FORMAT
    rewrite(new, something_new={"of": "a later program"}, format=FORMAT)
    works(new, tmp_path / "release")


@pytest.mark.parametrize("also", [{}, {"columns": "in another way", "rows": 5, "plan_digest": None}])
def test_a_newer_format_says_so_and_is_not_called_damaged(tmp_path: Path, also: dict[str, Any]) -> None:
    new = catalog(tmp_path)
    rewrite(new, format=FORMAT + 1, **also)
    for attempt in (
        open_catalog,
        verify,
        lambda path: query(path, "SELECT 1"),
        lambda path: find(path, ["1"]),
    ):
        with pytest.raises(InputError, match=r"made by a newer version of Abundant.*upgrade") as told:
            attempt(new)
        assert "damaged" not in str(told.value)
    with pytest.raises(InputError, match="newer version"):
        export(Asked(catalog=new, out=tmp_path / "x.fits"), "fits")


def test_partition_lists_of_old_and_new_are_alike(tmp_path: Path) -> None:
    """What HATS readers of any age need beside Parquet."""
    with (catalog(tmp_path) / "partition_info.csv").open() as file:
        assert {"Norder", "Npix"} <= {*next(csv.reader(file))}
