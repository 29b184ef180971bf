"""Reading a catalog: every documented way, exact ids, SQL that can reach nothing else."""

import re
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import catalogs
from catalogs import open_catalog, query
from catalogs.plots import abundance_plane, kiel
from catalogs.query import find
from engine.errors import InputError, VerifyError
from tests.unit.catalog_rows import FIRST_ID, KEY_NAMES, layout, publish, staged, tasks

README = Path(catalogs.__file__).with_name("README.md")
TASKS = tasks(4, 150)
IDS = list(range(FIRST_ID, FIRST_ID + 1200, 2))
GAIA = {
    row["targetid"]: row["gaia_source_id"]
    for one in TASKS.values()
    for row in one.select(["targetid", "gaia_source_id"]).to_pylist()
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = layout(tmp_path_factory.mktemp("read"))
    staged(where, TASKS)
    publish(where, list(TASKS))
    return where.catalog


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("code", snippets("python"), ids=lambda code: code.split("\n")[0])
def test_readme_python_runs(path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.chdir(path.parent.parent)
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("sql", snippets("sql"))
def test_readme_sql_runs(path: Path, sql: str) -> None:
    assert query(path, sql).num_rows == 1


def test_readme_shows_every_way() -> None:
    shown = "\n".join(snippets("python"))
    for way in ("duckdb", "pandas", "polars", "astropy", "lsdb", "query", "verify"):
        assert way in shown


def test_ids_are_exact_everywhere(path: Path) -> None:
    import pandas as pd
    import polars as pl

    files = str(path / "dataset/*/*/*.parquet")
    catalog = open_catalog(path)
    read = catalog.to_astropy(["targetid", "gaia_source_id"])
    pairs: dict[str, list[tuple[Any, Any]]] = {
        "pandas": _pairs(pd.read_parquet(path / "dataset", dtype_backend="pyarrow", partitioning=None)),
        "to_pandas": _pairs(catalog.to_pandas(["targetid", "gaia_source_id"])),
        "polars": pl.read_parquet(files, hive_partitioning=False)["targetid", "gaia_source_id"].rows(),
        "duckdb": duckdb.execute(f"SELECT targetid, gaia_source_id FROM '{files}'").fetchall(),
        "astropy": [(int(t), None if g is _masked() else int(g)) for t, g in read.iterrows()],
        "query": _rows(query(path, "SELECT targetid, gaia_source_id FROM catalog")),
    }
    for way, found in pairs.items():
        assert len(found) == 600, way
        assert dict(found) == GAIA, way


def _masked() -> Any:
    import numpy as np

    return np.ma.masked


def _pairs(frame: Any) -> list[tuple[Any, Any]]:
    return _rows(pa.Table.from_pandas(frame, preserve_index=False))


def _rows(rows: pa.Table) -> list[tuple[Any, Any]]:
    return [(row["targetid"], row["gaia_source_id"]) for row in rows.to_pylist()]


@pytest.mark.filterwarnings("ignore")
def test_astropy_reads_units_from_a_partition(path: Path) -> None:
    from astropy import units as u
    from astropy.table import Table

    file = next(path.rglob("Npix=*.parquet"))
    table = Table.read(file, format="parquet.votable")
    assert (table["teff"].unit, table["ra"].unit, table["rv"].unit) == (u.K, u.deg, u.km / u.s)
    assert "Effective temperature" in table["teff"].description
    assert set(table["spectype"]) == {"None"}  # its way to show NULL, in full
    assert table["targetid"].tolist() == pq.ParquetFile(file).read()["targetid"].to_pylist()


def test_to_astropy_masks_null_and_keeps_types(path: Path) -> None:
    from astropy import units as u

    table = open_catalog(path).to_astropy()
    assert len(table) == 600
    assert table["teff"].unit == u.K
    assert table["teff"].mask.sum() == (table["flags"] & 1).sum() > 0
    assert table["spectype"].mask.all()
    assert table["flag_bad"].dtype == bool


def test_open_catalog_knows_columns_units_and_rows(path: Path) -> None:
    catalog = open_catalog(str(path))
    assert catalog.rows == 600
    assert catalog.schema.field("teff").metadata[b"unit"] == b"K"
    assert catalog.to_arrow(["teff"]).column_names == ["teff"]
    few = catalog.to_arrow(["targetid", "teff"], pc.field("teff") > 6000)
    assert 0 < few.num_rows < 600
    assert "Norder" not in catalog.to_pandas().columns
    assert catalog.duckdb().execute("SELECT count(*) FROM catalog").fetchall() == [(600,)]
    assert len(catalog.to_lsdb()) == 600


def test_open_catalog_refuses_what_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not a published catalog.*hats\.properties"):
        open_catalog(tmp_path)
    (tmp_path / "hats.properties").write_text("")
    with pytest.raises(VerifyError, match=r"damaged: .*manifest\.json.*`abundant verify"):
        open_catalog(tmp_path)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM '{other}'",
        "SELECT * FROM glob('/*')",
        "COPY catalog TO '{other}'",
        "COPY (SELECT 1 AS a) TO '{own}' (FORMAT parquet)",
        "ATTACH '{other}.db'",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW catalog",
        "SELECT 1; COPY catalog TO '{other}'",
        "SELECT * FROM leaked",
    ],
)
def test_query_reaches_nothing_but_the_catalog(path: Path, tmp_path: Path, sql: str) -> None:
    leaked = pa.table({"a": [1]})  # DuckDB finds Python variables by name unless told not to
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n")
    own = next(path.rglob("Npix=*.parquet"))
    before = own.read_bytes()
    with pytest.raises(InputError):
        query(path, sql.format(other=other, own=own))
    assert other.read_text() == "a\n1\n"
    assert own.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
    assert leaked.num_rows == 1


def test_query_says_what_is_wrong_in_one_line(path: Path) -> None:
    with pytest.raises(InputError, match=r'^SQL: .*column "tef".*$') as caught:
        query(path, "SELECT tef FROM catalog")
    assert "\n" not in str(caught.value)
    assert query(path, "SELECT count(*) AS n FROM catalog")["n"].to_pylist() == [600]
    for sql in ("DESCRIBE catalog", "WITH a AS (SELECT 1) SELECT * FROM a;"):
        assert query(path, sql).num_rows > 0


def test_find_by_full_key_and_by_id(path: Path) -> None:
    row = find(path, [str(FIRST_ID + 2)])
    assert row["targetid"] == FIRST_ID + 2
    assert row["tile"] is None
    key = ["NULL" if row[name] is None else str(row[name]) for name in KEY_NAMES]
    assert find(path, key) == row


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (["123"], "no row with targetid = 123"),
        (["sun"], "sun is no targetid"),
        (["main", "bright"], "has 2 parts; a full key is survey/program/healpix/tile/targetid"),
    ],
)
def test_find_explains_what_it_cannot_find(path: Path, key: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find(path, key)


def test_find_lists_the_rows_of_an_ambiguous_id(tmp_path: Path) -> None:
    where = layout(tmp_path)
    one = next(iter(TASKS.values())).slice(0, 3)
    tile = one.schema.get_field_index("tile")
    two = one.set_column(tile, one.schema.field(tile), pa.array([80605] * 3, pa.int32()))
    staged(where, {"a": one, "b": two})
    publish(where, ["a", "b"])
    with pytest.raises(InputError, match=rf"2 rows.*\n  main/.*/80605/{FIRST_ID}\n  main/.*/NULL/{FIRST_ID}"):
        find(where.catalog, [str(FIRST_ID)])


def test_plots_are_drawn_from_points_and_from_cells(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.image import imread

    for most in (200_000, 50):
        monkeypatch.setattr("catalogs.plots.MOST_POINTS", most)
        for draw in (kiel, abundance_plane):
            png = tmp_path / f"{draw.__name__}-{most}.png"
            draw(path, png)
            image = imread(png)
            assert image.shape[0] > 500
            assert len(set(map(tuple, image[::4, ::4, :3].reshape(-1, 3).tolist()))) > 50
    with pytest.raises(InputError, match=r"no o_fe; its labels are teff, logg, fe_h, mg_fe"):
        abundance_plane(path, tmp_path / "x.png", "o_fe")


@pytest.mark.parametrize("sql", ["EXPLAIN SELECT 1", "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1"])
def test_explain_is_refused_since_it_can_run_what_it_explains(path: Path, sql: str) -> None:
    with pytest.raises(InputError, match="one SELECT"):
        query(path, sql)
