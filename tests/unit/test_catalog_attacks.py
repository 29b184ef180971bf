"""SQL that tries to leave a catalog, or to change anything: every attempt is refused, and nothing changes."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalogs import query, verify
from engine.errors import InputError
from tests.unit.catalog_rows import layout, publish, staged, tasks

# CSV and CAT are files beside the catalog and its folder, OWN is one of its partitions.
READ = """\
SELECT * FROM read_csv('{out}/other.csv')
SELECT * FROM read_csv_auto('/dev/stdin')
SELECT * FROM read_parquet('{out}/other.parquet')
SELECT * FROM parquet_scan('{out}/other.parquet')
SELECT * FROM '{out}/other.parquet'
FROM '{out}/other.csv'
SELECT * FROM "{out}/other.csv"
SELECT * FROM read_text('/etc/hostname')
SELECT * FROM read_text('file:///etc/hostname')
SELECT * FROM read_text('/proc/self/environ')
SELECT * FROM read_blob('/etc/hostname')
SELECT * FROM read_json('/etc/hostname')
SELECT * FROM read_json_objects('{out}/other.csv')
SELECT * FROM read_ndjson_objects('{out}/other.csv')
SELECT * FROM sniff_csv('{out}/other.csv')
SELECT * FROM glob('/*')
SELECT * FROM glob('{cat}/**')
SELECT * FROM parquet_metadata('{out}/other.parquet')
SELECT * FROM parquet_schema('{out}/other.parquet')
SELECT * FROM parquet_kv_metadata('{out}/other.parquet')
SELECT * FROM parquet_file_metadata('{out}/other.parquet')
SELECT * FROM read_parquet('{own}/../link.parquet')
SELECT * FROM read_parquet('{folder}/link.parquet')
SELECT * FROM read_parquet('{folder}/*.parquet')
SELECT * FROM read_parquet('{cat}/outside/other.parquet')
SELECT * FROM read_parquet('{folder}/../../../outside/other.parquet')
SELECT * FROM read_text('{cat}/manifest.json')
SELECT * FROM query('SELECT * FROM read_text(''/etc/hostname'')')
SELECT * FROM query('SELECT 1')
SELECT * FROM query_table('{out}/other.csv')
SELECT * FROM query_table(['{out}/other.csv'])
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT 1'))
SELECT * FROM main.JSON_execute_serialized_sql(json_serialize_sql('SELECT 1'))
SELECT (SELECT content FROM read_text('/etc/hostname'))
WITH a AS (FROM '{out}/other.csv') FROM a
SELECT * FROM catalog WHERE teff IN (SELECT a FROM '{out}/other.csv')
SUMMARIZE '{out}/other.csv'
DESCRIBE '{out}/other.csv'
SELECT getenv('HOME')
SELECT * FROM read_csv('https://example.org/a.csv')
SELECT * FROM read_parquet('s3://bucket/a.parquet')
SELECT * FROM 'https://example.org/a.parquet'
SELECT * FROM sqlite_scan('{out}/x.db', 't')
SELECT * FROM postgres_scan('host=localhost', 'public', 't')
SELECT * FROM st_read('{out}/other.csv')
SELECT * FROM read_xlsx('{out}/x.xlsx')
SELECT * FROM read_duckdb('{out}/x.db')
SELECT * FROM which_secret('s3://a', 's3')
SELECT * FROM duckdb_secrets()
SELECT * FROM arrow_scan(1::BIGINT, 2::BIGINT, 3::BIGINT)
SELECT * FROM pandas_scan(1::BIGINT)
SELECT * FROM leaked
PIVOT catalog ON program USING count(*)"""
CHANGE = """\
ATTACH '{out}/x.db'
ATTACH ':memory:' AS x
DETACH memory
USE memory
COPY catalog TO '{out}/new.csv'
COPY (SELECT 1 AS a) TO '{own}' (FORMAT parquet)
COPY catalog FROM '{out}/other.csv'
WITH a AS (COPY catalog TO '{out}/new.csv') SELECT 1
WITH a AS (COPY (SELECT 1 AS a) TO '{own}' (FORMAT parquet, USE_TMP_FILE false)) FROM a
WITH a AS (COPY (SELECT 1 AS a) TO '{own}' (USE_TMP_FILE false)), b AS (SELECT 2) SELECT 1 FROM b
SELECT * FROM (WITH a AS (COPY (SELECT 1 AS a) TO '{own}' (USE_TMP_FILE false)) FROM a)
FROM json_execute_serialized_sql(json_serialize_sql({copy}))
FROM query('FROM json_execute_serialized_sql(json_serialize_sql('{copy}'))')
PRAGMA json_execute_serialized_sql('x')
WITH a AS (INSERT INTO catalog SELECT * FROM catalog RETURNING *) FROM a
WITH a AS (UPDATE catalog SET teff = 1 RETURNING *) FROM a
WITH a AS (DELETE FROM catalog RETURNING *) FROM a
EXPORT DATABASE '{out}/new'
IMPORT DATABASE '{out}'
INSTALL httpfs
LOAD httpfs
LOAD '{out}/x.duckdb_extension'
FORCE INSTALL httpfs FROM 'https://example.org'
UPDATE EXTENSIONS
PRAGMA database_list
PRAGMA enable_profiling
PRAGMA add_parquet_key('a', 'b')
SET profiling_output = '{out}/new'
SET enable_external_access = true
SET lock_configuration = false
SET allowed_paths = ['{out}']
SET VARIABLE a = 1
RESET enable_external_access
CREATE TABLE t AS SELECT 1
CREATE TEMP VIEW t AS SELECT 1
CREATE SECRET (TYPE s3)
CREATE OR REPLACE VIEW catalog AS SELECT 1
CREATE OR REPLACE MACRO cone(a, b, c) AS true
DROP VIEW catalog
DROP MACRO good
ALTER VIEW catalog RENAME TO x
INSERT INTO catalog SELECT * FROM catalog
UPDATE catalog SET teff = 1
DELETE FROM catalog
CALL enable_logging('QueryLog', storage = 'file', storage_config = {{'path': '{out}/new'}})
SELECT * FROM enable_logging('QueryLog', storage = 'file', storage_path = '{out}/new')
SELECT * FROM enable_logging('QueryLog')
SELECT * FROM enable_profiling(save_location = '{out}/new')
CHECKPOINT
VACUUM
BEGIN TRANSACTION
PREPARE a AS SELECT 1
EXECUTE a
EXPLAIN ANALYZE SELECT 1
EXPLAIN ANALYZE COPY catalog TO '{out}/new.csv'
SELECT 1; COPY catalog TO '{out}/new.csv'
SELECT 1; SELECT 2
;
-- nothing"""


# What {copy} stands for.
HIDDEN = "'WITH a AS (COPY (SELECT 1) TO ''{own}'' (FORMAT parquet, USE_TMP_FILE false)) FROM a'"


@pytest.fixture(scope="module")
def cat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog whose folder holds links that lead out of it."""
    root = tmp_path_factory.mktemp("attacked")
    where = layout(root)
    made = tasks(2, 60)
    staged(where, made)
    publish(where, list(made))
    out = root / "out"
    out.mkdir()
    (out / "other.csv").write_text("a\n1\n")
    own = first_of(where.catalog)
    shutil.copy(own, out / "other.parquet")
    (own.parent / "link.parquet").symlink_to(out / "other.parquet")
    (where.catalog / "outside").symlink_to(out)
    return where.catalog


def first_of(cat: Path) -> Path:
    return min(cat.rglob("Npix=*.parquet"))


def seen(*folders: Path) -> dict[Path, bytes]:
    """Everything below some folders."""
    return {file: file.read_bytes() for folder in folders for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("sql", (READ + "\n" + CHANGE).split("\n"))
def test_sql_reaches_nothing_else_and_changes_nothing(
    cat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    monkeypatch.chdir(tmp_path)
    leaked = pa.table({"a": [1]})  # DuckDB finds Python variables by name unless told not to
    out, own = cat.parents[1] / "out", first_of(cat)
    before = seen(cat, out)
    copy = HIDDEN.format(own=own)
    with pytest.raises(InputError):
        query(cat, sql.format(out=out, own=own, cat=cat, folder=own.parent, copy=copy))
    assert seen(cat, out) == before
    assert os.listdir(tmp_path) == []  # noqa: PTH208
    assert leaked.num_rows == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM catalog",
        "FROM catalog SELECT teff LIMIT 1",
        "TABLE catalog",
        "WITH a AS (SELECT 1 AS x) SELECT * FROM a JOIN catalog ON true LIMIT 1;",
        "WITH RECURSIVE a(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM a WHERE x < 3) SELECT * FROM a",
        "SELECT 1 AS x UNION ALL SELECT 2",
        "SELECT * FROM (PIVOT catalog ON program IN ('bright') USING count(*))",
        "SUMMARIZE catalog",
        "DESCRIBE catalog",
        "VALUES (1, 'COPY_QUERY_NODE')",
        "SELECT 'COPY catalog TO x; DROP VIEW catalog' AS text",
        "SELECT 1 AS COPY_QUERY_NODE, 2 AS query, {{'type': 'COPY_QUERY_NODE'}} AS x",
        "SELECT * FROM read_parquet('{own}')",
    ],
)
def test_sql_that_reads_the_catalog_is_answered(cat: Path, sql: str) -> None:
    assert query(cat, sql.format(own=first_of(cat))).num_rows > 0


def test_a_partition_that_leads_out_is_for_verify_to_find(cat: Path, tmp_path: Path) -> None:
    """A published file is read wherever it lies, which may be another disk; but its sum must hold."""
    copy = Path(shutil.copytree(cat, tmp_path / "v1", ignore=lambda *_: ["outside", "link.parquet"]))
    own = first_of(copy)
    other = tmp_path / "other.parquet"
    pq.write_table(pq.read_table(own).slice(1), other)
    own.unlink()
    own.symlink_to(other)
    with pytest.raises(Exception, match=r"Npix=.*bytes"):
        verify(copy)


@pytest.mark.parametrize("sql", ["SELECT " + "1+" * 900 + "1", "SELECT " + "(" * 5000 + "1" + ")" * 5000])
def test_deep_nesting_is_answered_or_refused(cat: Path, sql: str) -> None:
    try:
        assert query(cat, sql).num_rows == 1
    except InputError as error:
        assert "\n" not in str(error)


def test_sorting_spills_into_a_folder_that_is_gone_afterwards(
    cat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    [[folder]] = query(cat, "SELECT current_setting('temp_directory') AS folder").to_pydict().values()
    assert Path(folder).parent == tmp_path
    assert list(tmp_path.iterdir()) == []
