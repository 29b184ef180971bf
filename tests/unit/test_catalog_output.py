"""Rows as text: exact, complete, valid in their format, and never all in memory."""

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from catalogs import query
from catalogs.formats import FORMATS, TABLE_ROWS, render, write
from catalogs.query import stream
from engine.errors import InputError
from tests.unit.catalog_rows import layout, publish, staged, tasks

ODD = pa.table(
    {
        "id": pa.array([2**53 + 1, None], pa.int64()),
        "teff": pa.array([5777.1, float("nan")], pa.float32()),
        "text": ['a,"b" [red]x[/red]', None],
        "sum": pa.array([Decimal(2**70), Decimal(2)], pa.decimal128(38, 0)),
    }
)
NESTED = (
    "SELECT [1, 2] AS list, {'a': 1, 'b': 'x'} AS struct, MAP {'k': 1.5} AS map, 'ab'::BLOB AS blob, "
    "[0.5, 'nan'::DOUBLE] AS nan, INTERVAL 1 DAY AS span, DATE '2026-11-21' AS day, NULL AS nothing, "
    "uuid() AS uuid, 'a'::ENUM('a', 'b') AS enum, TIME '12:00:00' AS time, '1'::HUGEINT AS huge, "
    "{'a': [NULL, {'b': 2}]} AS deep, TIMESTAMPTZ '2026-11-21 12:00:00+00' AS stamp, '101'::BIT AS bits"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = layout(tmp_path_factory.mktemp("output"))
    made = tasks(2, 150)
    staged(where, made)
    publish(where, list(made))
    return where.catalog


def test_json_is_exact_and_valid() -> None:
    first, second = json.loads(render(ODD, "json"), parse_constant=pytest.fail)
    assert first == {"id": 2**53 + 1, "teff": 5777.1, "text": 'a,"b" [red]x[/red]', "sum": 2**70}
    assert second == {"id": None, "teff": None, "text": None, "sum": 2}


def test_csv_is_exact() -> None:
    first, second = csv.DictReader(io.StringIO(render(ODD, "csv")))
    assert (first["id"], first["teff"], first["text"]) == (str(2**53 + 1), "5777.1", 'a,"b" [red]x[/red]')
    assert second["id"] == ""


def test_table_is_exact_and_shows_null() -> None:
    shown = render(ODD, "table")
    assert str(2**53 + 1) in shown and "5777.1" in shown and "NULL" in shown
    assert "[red]x[/red]" in shown


def test_formats_handle_no_rows_and_unknown_names() -> None:
    for form in FORMATS:
        assert isinstance(render(ODD.slice(0, 0), form), str)
    assert json.loads(render(ODD.slice(0, 0), "json")) == []
    assert render(ODD.slice(0, 0), "csv") == '"id","teff","text","sum"\n'
    with pytest.raises(InputError, match="known: table, csv, json"):
        render(ODD, "xml")


def test_names_that_come_twice_are_told_apart(path: Path) -> None:
    sql = "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a FROM catalog LIMIT 1"
    assert query(path, sql).to_pylist() == [{"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}]
    assert json.loads(render(query(path, sql), "json")) == [{"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}]
    joined = query(path, "SELECT * FROM catalog a JOIN catalog b USING (targetid)")
    assert len(set(joined.column_names)) == len(joined.column_names)


def test_nested_and_odd_types_are_text_in_every_format(path: Path) -> None:
    rows = query(path, NESTED)
    [plain] = csv.DictReader(io.StringIO(render(rows, "csv")))
    assert (plain["list"], plain["blob"], plain["day"]) == ("[1, 2]", "6162", "2026-11-21")
    assert json.loads(plain["struct"]) == {"a": 1, "b": "x"}
    assert json.loads(plain["nan"], parse_constant=pytest.fail) == [0.5, None]
    [row] = json.loads(render(rows, "json"), parse_constant=pytest.fail)
    assert row["deep"] == {"a": [None, {"b": 2}]}
    assert (row["huge"], row["blob"], row["nothing"]) == (1, "6162", None)
    assert "{'a': 1, 'b': 'x'}" in render(rows, "table")


def test_a_long_table_is_cut_and_says_so(path: Path) -> None:
    shown = render(query(path, "SELECT targetid FROM catalog"), "table")
    assert shown.count("39633") == TABLE_ROWS
    assert shown.endswith(f"… and {300 - TABLE_ROWS} more rows; --format csv or json gives all\n")
    assert len(json.loads(render(query(path, "SELECT targetid FROM catalog"), "json"))) == 300


def test_long_texts_and_many_columns_are_whole(path: Path) -> None:
    sql = f"SELECT '{'x' * 500}' AS long, * FROM catalog LIMIT 1"
    assert "x" * 500 in render(query(path, sql), "table")


@pytest.mark.parametrize("form", ["csv", "json"])
def test_rows_are_written_while_they_come(form: str) -> None:
    """A batch is on its way out before the next is asked for."""
    out = io.StringIO()
    seen: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(4):
            seen.append(out.getvalue().count("77"))
            yield pa.RecordBatch.from_pydict({"a": [770 + number]})

    write(pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int64())]), batches()), form, out)
    assert seen == [0, 1, 2, 3]


def test_a_stream_comes_in_batches(path: Path) -> None:
    with stream(path, "SELECT a.targetid FROM catalog a CROSS JOIN catalog b") as rows:
        sizes = [len(batch) for batch in rows]
    assert sum(sizes) == 300 * 300
    assert len(sizes) > 5


def test_an_error_among_the_rows_is_one_message(path: Path) -> None:
    sql = "SELECT CAST(program AS INTEGER) FROM catalog"
    with pytest.raises(InputError, match=r"^SQL: .*Could not convert.*abundant verify"):
        query(path, sql)
