"""Published tables of velocities: DESI's RVTAB, or any Parquet table; read once per process."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import fitsio
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import PlanError, ShardUnavailable
from engine.prepare.frame import LIGHT_KMS
from engine.spec import Velocity
from engine.surveys.desi.lookup import look_up
from engine.surveys.desi.rv_table import usable_columns, velocity_path
from engine.surveys.pinned import once
from engine.types import Doubles

RENAMED = {"VRAD": "rv", "VRAD_ERR": "rv_err", "RVS_WARN": "rv_warn"}
KEYS = ("survey", "program", "healpix")
UNKNOWN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Velocities:
    """Velocity, its 1-sigma error, warning bits and a second opinion, km/s, of N rows; NaN = unknown."""

    rv_N: Doubles
    err_N: Doubles
    warn_N: Doubles
    check_N: Doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A table of M velocities in order of targetid, of which there may be several rows.

    `parts` holds a number per row for every further key that the table has; for a key that is text the
    number is the place in its `words`.
    """

    targetid_M: npt.NDArray[np.int64]
    parts: Mapping[str, npt.NDArray[np.int64]]
    words: Mapping[str, tuple[str, ...]]
    values: Velocities


def listed_velocities(rv: Velocity, keys: Mapping[str, pa.Array]) -> Velocities:
    """The table's velocities of the rows with these keys, the first where several match.

    A key counts where both sides know it. PlanError when the file is missing or is no such table,
    ShardUnavailable when it cannot be read now.
    """
    path = velocity_path(rv)
    listing = _LOADERS[rv.source](path, rv.sha256)
    place_N, found_N = _match(listing, keys)

    def take(values_M: Doubles) -> Doubles:
        values_N = np.full(len(found_N), np.nan)
        values_N[found_N] = values_M[place_N[found_N]]
        return values_N

    found = listing.values
    return Velocities(
        rv_N=take(found.rv_N),
        err_N=take(found.err_N),
        warn_N=take(found.warn_N),
        check_N=take(found.check_N),
    )


def _match(
    listing: Listing, keys: Mapping[str, pa.Array]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """The place in the listing of each row's velocity, and whether there is one."""
    ids = keys["targetid"].to_numpy()
    place_N, open_N = look_up(listing.targetid_M, ids)
    found_N = np.zeros(len(ids), np.bool_)
    wanted = {name: _numbers(listing, name, keys[name]) for name in listing.parts}
    # One step for each row that a target has in the table: a handful at most.
    while open_N.any():
        at = place_N[open_N]
        fits = np.ones(len(at), np.bool_)
        for name, number_N in wanted.items():
            wanted_N, listed_N = number_N[open_N], listing.parts[name][at]
            fits &= (wanted_N == listed_N) | (wanted_N == UNKNOWN) | (listed_N == UNKNOWN)
        found_N[open_N] = fits
        open_N[open_N] = ~fits
        place_N[open_N] += 1
        open_N[open_N] = place_N[open_N] < len(listing.targetid_M)
        open_N[open_N] = listing.targetid_M[place_N[open_N]] == ids[open_N]
    return place_N, found_N


def _numbers(listing: Listing, name: str, values: pa.Array) -> npt.NDArray[np.int64]:
    """A key of some rows in the listing's numbers; -1 where NULL, -2 for a word the listing lacks."""
    if name not in listing.words:
        return values.cast(pa.int64()).fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
    number = {word: place for place, word in enumerate(listing.words[name])} | {None: UNKNOWN}
    return np.array([number.get(word, -2) for word in values.to_pylist()], np.int64)


def _load(source: str, path: Path) -> Listing:
    columns = usable_columns(source, path)
    try:
        table = _read_rvtab(path, columns) if source == "rvtab" else pq.read_table(path, columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise ShardUnavailable(f"{path}: {error}; expected a readable table of velocities") from error
    if missing := table.column(0).null_count:
        # numpy has no integer NULL: one would make float64 of all ids, and neighbours would become equal.
        raise PlanError(f"survey.rv.path: {missing} rows of {path} have no {columns[0]}; remove them")
    return _sorted(table.rename_columns([RENAMED.get(column, column.lower()) for column in columns]))


def _read_rvtab(path: Path, columns: list[str]) -> pa.Table:
    with fitsio.FITS(str(path)) as library:
        rows = library["RVTAB"].read(columns=columns)
    native = (rows[name].astype(rows[name].dtype.newbyteorder("=")) for name in columns)
    return pa.table([pa.array(values) for values in native], columns)


def _sorted(table: pa.Table) -> Listing:
    # Unsigned and signed would meet as float64.
    ids = table["targetid"].to_numpy().astype(np.int64)
    order = np.argsort(ids, kind="stable")
    coded = {name: _coded(table[name]) for name in KEYS if name in table.column_names}
    values = [_floats(table, name)[order] for name in ("rv", "rv_err", "rv_warn", "rr_z")]
    return Listing(
        targetid_M=ids[order],
        parts={name: numbers[order] for name, (numbers, _) in coded.items()},
        words={name: words for name, (_, words) in coded.items() if words is not None},
        values=Velocities(rv_N=values[0], err_N=values[1], warn_N=values[2], check_N=LIGHT_KMS * values[3]),
    )


def _coded(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], tuple[str, ...] | None]:
    """A key as numbers; for text also the words that the numbers stand for."""
    if pa.types.is_integer(column.type):
        return column.to_numpy().astype(np.int64), None
    coded = column.cast(pa.string()).combine_chunks().dictionary_encode()
    words = tuple(word.strip() for word in coded.dictionary.to_pylist())
    return coded.indices.fill_null(UNKNOWN).to_numpy(zero_copy_only=False).astype(np.int64), words


def _floats(table: pa.Table, name: str) -> Doubles:
    """A column as float64; NaN where NULL or where the table has no such column."""
    if name not in table.column_names:
        return np.full(len(table), np.nan)
    return table[name].cast(pa.float64(), safe=False).to_numpy()


_LOADERS = {source: once(partial(_load, source)) for source in ("rvtab", "table")}
