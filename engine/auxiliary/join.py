"""Spectra and tables -> spectra with what the tables know of them: the same rows in the same order."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from engine.auxiliary.inputs import PARALLAX_ZERO_POINT
from engine.auxiliary.lookup import rows_of
from engine.auxiliary.tables import Table, copy_of, joined_columns
from engine.auxiliary.zero_point import NOT_USED, zero_point
from engine.columns import schema
from engine.errors import ShardUnavailable
from engine.positions import known_positions

# What is only replaced as a whole, once the first of them has a value: an error belongs to its velocity.
TOGETHER = {"ra": ("ra", "dec"), "rv": ("rv", "rv_err", "rv_warn")}
SOURCES = {"ra": "position_source", "rv": "rv_source"}


def join(spectra: pa.Table, tables: Sequence[Table]) -> pa.Table:
    """A batch with what the tables give: its own columns first, then those of `joined_columns`.

    Where a table has a value it wins, else what the survey gave stays. NULL is the only missing value.
    `auxiliary_missing` counts, for each row, the values asked for that it does not have in the end.
    ShardUnavailable when a copy cannot be read; PlanError when it must be made again and cannot.
    """
    if not tables:
        return spectra
    columns = {name: spectra[name] for name in spectra.column_names}
    for table in tables:
        columns |= _filled(columns, _found(columns[table.spec.match], table))
    added = schema(joined_columns(tables))
    if PARALLAX_ZERO_POINT.name in added.names:
        columns[PARALLAX_ZERO_POINT.name] = zero_point(columns)
    columns["auxiliary_missing"] = _missing(columns, tables)
    target = pa.schema([*spectra.schema, *added], metadata=spectra.schema.metadata)
    return pa.table([columns[name] for name in target.names], schema=target)


def _found(ids: pa.ChunkedArray, table: Table) -> dict[str, pa.ChunkedArray]:
    """The table's rows for these ids, by our names."""
    try:
        rows = rows_of(copy_of(table), ids.combine_chunks().cast(table.key_type))
    except (OSError, pa.ArrowException) as error:
        raise ShardUnavailable(
            f"auxiliary: the sorted copy of {table.spec.path} in the cache cannot be read: {error}; "
            "where it is damaged, remove it from $ABUNDANT_CACHE/auxiliary"
        ) from error
    return {name: rows[name] for name in rows.column_names}


def _filled(
    columns: Mapping[str, pa.ChunkedArray], found: dict[str, pa.ChunkedArray]
) -> dict[str, pa.ChunkedArray]:
    """The columns that change: new ones as they are, old ones where the table has a value."""
    changed = dict(found)
    for name, values in found.items():
        if name in columns:
            changed[name] = pc.call_function("coalesce", [values, columns[name]])
    for first, names in TOGETHER.items():
        if first in found:
            changed |= _replaced(columns, found, first, names)
    return changed


def _replaced(
    columns: Mapping[str, pa.ChunkedArray],
    found: Mapping[str, pa.ChunkedArray],
    first: str,
    names: tuple[str, ...],
) -> dict[str, pa.ChunkedArray]:
    """Columns that belong together, the table's where it has all it needs, and where they come from."""
    theirs = _placed(found) if first == "ra" else found[first].is_valid()
    both = {
        name: (found.get(name, pa.nulls(len(theirs), columns[name].type)), columns[name]) for name in names
    }
    both[SOURCES[first]] = (pa.scalar("table"), columns[SOURCES[first]])
    return {name: pc.call_function("if_else", [theirs, new, old]) for name, (new, old) in both.items()}


def _placed(found: Mapping[str, pa.ChunkedArray]) -> pa.Array:
    ra_N, dec_N = (found[name].fill_null(np.nan).to_numpy() for name in ("ra", "dec"))
    return pa.array(known_positions(ra_N, dec_N))


def _missing(columns: Mapping[str, pa.ChunkedArray], tables: Sequence[Table]) -> pa.Array:
    """How many of the values that were asked for are NULL, by row."""
    solved = columns.get("astrometric_params_solved")
    count_N = np.zeros(len(columns["auxiliary_missing"]), np.int32)
    for table in tables:
        for column in table.columns:
            null_N = columns[column.name].is_null().to_numpy()
            if solved is not None and column.name in NOT_USED:
                null_N = null_N & (solved.fill_null(0).to_numpy() != NOT_USED[column.name])
            count_N += null_N
    return pa.array(count_N)
