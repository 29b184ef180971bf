"""CSV tables that authors publish beside their weights: columns by our names, whatever theirs are."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from engine.errors import InputError
from engine.types import Doubles

# Names of theirs, without "_" and in lower case, that are not ours written so.
ALIASES = {
    "a_li": ("li1",),
    "tmass_j": ("jmag2mass",),
    "tmass_h": ("hmag2mass",),
    "tmass_ks": ("kmag2mass", "ksmag2mass"),
    "wise_w1": ("wise1",),
    "wise_w2": ("wise2",),
    "a_v": ("av50",),
}


def read_table(path: Path) -> pa.Table:
    """A CSV file; InputError where it cannot be read, or has no rows or a column twice."""
    try:
        table = csv.read_csv(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from error
    names = [name.strip() for name in table.column_names]
    if not len(table) or len(set(names)) < len(names):
        raise InputError(f"{path}: expected rows, and names of columns that are all different")
    return table.rename_columns(names)


def compact(name: str) -> str:
    """A name as it is compared: alphaM, alpha_m and AlphaM are one."""
    return name.replace("_", "").lower()


def column_of(path: Path, table: pa.Table, name: str, prefix: str = "") -> str:
    """Their name for one of ours; InputError unless the table has exactly one such column."""
    known = {prefix + other for other in (compact(name), *ALIASES.get(name, ()))}
    found = [column for column in table.column_names if compact(column) in known]
    if len(found) != 1:
        raise InputError(
            f"{path} has {len(found)} columns for {prefix}{name}, expected one; its columns are "
            f"{', '.join(table.column_names)}"
        )
    return found[0]


def numbers_of(path: Path, table: pa.Table, name: str, prefix: str = "") -> Doubles:
    """One of our columns; InputError unless all of it is numbers, and finite."""
    column = table[column_of(path, table, name, prefix)]
    try:
        values_N = column.cast(pa.float64()).fill_null(np.nan).to_numpy()
    except pa.ArrowException as error:
        raise InputError(f"{path}: column {prefix}{name} holds other things than numbers: {error}") from error
    if bad := int(np.count_nonzero(~np.isfinite(values_N))):
        raise InputError(
            f"{path}: {bad} values of {prefix}{name} are missing or not finite; leave those stars out"
        )
    return values_N


def rows_of(
    path: Path, table: pa.Table, wanted_path: Path, wanted: pa.Table, names: Iterable[str]
) -> pa.Array:
    """For each star of `wanted` its row in `table`, by the one column that both have beside `names`.

    InputError where there is no such column, or more, where it repeats a star, or lacks one.
    """
    known = {compact(name) for name in names}
    shared = [
        column
        for column in wanted.column_names
        if column in table.column_names and compact(column) not in known
    ]
    if len(shared) != 1:
        raise InputError(
            f"{path} and {wanted_path} have {len(shared)} columns in common that could be the stars' id"
            f"{': ' if shared else ''}{', '.join(shared)}; expected one"
        )
    ids, theirs = (_texts(side[shared[0]]) for side in (wanted, table))
    row_of = {one: row for row, one in enumerate(theirs)}
    if len(row_of) < len(theirs) or len(set(ids)) < len(ids):
        raise InputError(f"{path} or {wanted_path}: {shared[0]} repeats a star; keep one row of each")
    if lacking := [one for one in ids if one not in row_of]:
        raise InputError(f"{path} lacks {len(lacking)} of the stars of {wanted_path}, such as {lacking[0]}")
    return pa.array([row_of[one] for one in ids], pa.int64())


def _texts(column: pa.ChunkedArray) -> Sequence[str]:
    return column.cast(pa.string()).to_pylist()
