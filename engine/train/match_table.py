"""A label table -> a copy of what is asked of it, sorted by key: labels, their errors, columns of cuts.

DuckDB sorts out of core; the copy lies in the cache of auxiliary tables and is looked up as they are. By
position, the key is the row of the table.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from engine.auxiliary.cache import cache_folder, made_whole
from engine.auxiliary.sorted_copy import KEY, MEMORY, PART_ROWS, write_parts
from engine.auxiliary.source import open_source
from engine.errors import PlanError
from engine.spec import digest
from engine.train.cuts_values import numbers, unset
from engine.train.match_asked import REFERENCE, Asked, unpacked
from engine.train.match_sql import best_sql, counted, key_sql, of_table, value_sql
from engine.train.spec import LabelTable
from engine.types import Bools

# What catalogs write for "no value" where they cannot write NULL.
MISSING_BELOW = -9998.0
VERSION = 1
ABOUT = "about.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What is known of a copy: rows of the table, those left out for their key, and of each label."""

    rows: int
    keyless: int
    repeated: int
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """`known` rows with the label, `errors` of them with an error, `unusable` ones with zero or less."""


def label_copy(table: LabelTable, asked: Asked, key_types: Mapping[str, pa.DataType]) -> Path:
    """The folder of the sorted copy, made if it is not there; PlanError for a table that cannot be joined."""
    types = {name: str(kind) for name, kind in key_types.items()}
    name = digest(["labels", VERSION, asked.sha256, table.content(), types, list(asked.expressions)])[:32]

    def make(folder: Path) -> None:
        with unpacked(table.path) as path, of_table(table.path, path):
            _write(table, asked, key_types, path, folder)

    try:
        return made_whole(cache_folder() / name, make)
    except OSError as error:
        raise PlanError(
            f"labels.path: no sorted copy of {table.path} could be written: {error}; set ABUNDANT_CACHE to a "
            "folder with room for twice the table"
        ) from error


def _write(
    table: LabelTable, asked: Asked, key_types: Mapping[str, pa.DataType], path: Path, folder: Path
) -> None:
    spill = folder / "spill"
    spill.mkdir()
    with duckdb.connect() as database:
        database.execute(f"SET memory_limit = '{MEMORY}'")
        database.execute("SET temp_directory = ?", [str(spill)])
        source = open_source(path, [*asked.keys.values(), *asked.values], spill, database)
        key = key_sql(table, source, key_types)
        values = [value_sql(name, source, table, database) for name in asked.values]
        listed = "".join(f", {value} AS c{number}" for number, value in enumerate(values))
        rows = f"SELECT {key} AS {KEY}{listed}, {best_sql(table, source)} AS _best FROM {source.relation}"
        counts = counted(rows, table, database)
        once = f"SELECT *, row_number() OVER (PARTITION BY {KEY} ORDER BY _best DESC NULLS LAST, _n) AS _r"
        chosen = (
            f"SELECT * FROM ({once} FROM (SELECT *, row_number() OVER () AS _n FROM ({rows}))) WHERE _r = 1"
        )
        query = f"SELECT * FROM ({chosen if table.best else rows}) WHERE {KEY} IS NOT NULL ORDER BY {KEY}"
        tallies = {name: {"known": 0, "errors": 0, "unusable": 0} for name in table.names}
        pieces = database.sql(query).to_arrow_reader(PART_ROWS)
        if not write_parts(
            (_columns(table, asked, piece, tallies) for piece in pieces if len(piece)), folder
        ):
            raise PlanError(
                f"labels.path: {table.path} has no rows; give a table with a row per labelled star"
            )
    about = About(labels=tallies, **counts)
    (folder / ABOUT).write_text(json.dumps(asdict(about)), encoding="utf-8")
    shutil.rmtree(spill, ignore_errors=True)


def _columns(
    table: LabelTable, asked: Asked, piece: pa.RecordBatch, tallies: Mapping[str, dict[str, int]]
) -> pa.Table:
    """Our columns of some rows: labels, errors, references as float32 with NaN for missing; others as is."""
    raw = {name: _cleaned(piece.column(i), table.missing) for i, name in enumerate(asked.values, start=1)}
    found: dict[str, Any] = {KEY: piece.column(0)}
    for name, expression in asked.expressions.items():
        found[name] = numbers(expression, raw) if name in asked.numeric else raw[min(expression.names)]
    for name in table.names:
        hidden_N = ~unset(asked.flags[name], raw) if name in asked.flags else np.zeros(len(piece), bool)
        found[name] = np.where(hidden_N, np.nan, found[name])
        for ours in {name, f"e_{name}", f"{REFERENCE}{name}"} & found.keys():
            found[ours] = np.where(found[ours] < MISSING_BELOW, np.nan, found[ours]).astype(np.float32)
        _tally(tallies[name], np.isfinite(found[name]), found.get(f"e_{name}"))
    return pa.table(found)


def _tally(tally: dict[str, int], known_N: Bools, error_N: np.ndarray | None) -> None:
    tally["known"] += int(known_N.sum())
    if error_N is not None:
        there_N = known_N & np.isfinite(error_N)
        tally["errors"] += int(there_N.sum())
        tally["unusable"] += int((there_N & (error_N <= 0)).sum())


def _cleaned(values: pa.Array, missing: tuple[float | str, ...]) -> pa.Array:
    """A column with NULL wherever the table says that there is no value."""
    marks = [mark for mark in missing if not isinstance(mark, str)]
    if pa.types.is_floating(values.type):
        numbers_N = values.fill_null(np.nan).to_numpy(zero_copy_only=False)
        marked_N = np.isin(numbers_N.astype(np.float32), np.array(marks, np.float32))
        return pa.array(numbers_N, mask=~np.isfinite(numbers_N) | (numbers_N < MISSING_BELOW) | marked_N)
    if pa.types.is_integer(values.type) and marks:
        marked_N = np.isin(values.fill_null(0).to_numpy(zero_copy_only=False), marks)
        return pa.array(
            values.fill_null(0).to_numpy(zero_copy_only=False),
            mask=marked_N | values.is_null().to_numpy(zero_copy_only=False),
        )
    return values
