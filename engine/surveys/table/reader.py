"""Rows of a table -> columns of a batch of spectra."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.columns import POSITION, SCALARS
from engine.errors import ShardCorrupt
from engine.spec import SurveySpec, TableColumns
from engine.surveys.store import Store
from engine.surveys.table.arrays import matrix
from engine.surveys.table.checks import check_medium, check_schema, check_waves
from engine.surveys.table.files import pieces, schema_of, understood
from engine.surveys.wcs import ivar_of
from engine.types import Bools, Column

# What the program says of a row, and no table can.
OURS = {"position_source", "read_problem", "auxiliary_missing", "row_in_shard"}
TAKEN = {column.name: column for column in (*POSITION, *SCALARS) if column.name not in OURS}
MEDIUM = "medium"


def read(spec: SurveySpec, store: Store, name: str, start: int, stop: int) -> dict[str, Any]:
    """Rows [start, stop) of a file, in its order; scalar columns that have our names are taken over."""
    assert spec.table is not None
    table = spec.table
    with store.open(name) as file, understood():
        schema = schema_of(file, name)
        check_schema(schema, table)
        taken = _taken(schema, table)
        arrays = [n for n in (table.flux, table.ivar, table.error, table.mask, table.wave) if n is not None]
        plain = list(dict.fromkeys((table.id, *taken.values(), *_said(schema, table))))
        room = _Room(table, stop - start)
        scalars = []
        for piece in pieces(file, name, table, [*plain, *arrays], start, stop):
            room.take(piece)
            scalars.append(piece.select(plain))
        flat = pa.Table.from_batches(scalars) if scalars else None
        if flat is None or len(flat) != stop - start:
            raise ShardCorrupt(f"{0 if flat is None else len(flat)} rows, expected {stop - start}")
        flat.validate(full=True)
        return _scalars(flat, table, taken) | room.columns()


def _taken(schema: pa.Schema, table: TableColumns) -> dict[str, str]:
    """Our scalar columns that a table has -> its names for them."""
    names = {**{name: name for name in TAKEN}, "ra": table.ra, "dec": table.dec}
    return {ours: theirs for ours, theirs in names.items() if theirs in schema.names}


def _said(schema: pa.Schema, table: TableColumns) -> Sequence[str]:
    """The column `medium`, where a table has one and uses it for nothing else."""
    used = {table.id, table.flux, table.ivar, table.error, table.mask, table.wave}
    return [MEDIUM] if MEDIUM in schema.names and MEDIUM not in used else []


def _scalars(flat: pa.Table, table: TableColumns, taken: dict[str, str]) -> dict[str, pa.Array]:
    if MEDIUM in flat.column_names:
        check_medium([str(value) for value in flat[MEDIUM].unique().drop_null().to_pylist()], table)
    found = {"id": _ids(flat[table.id].combine_chunks(), table)}
    for ours, theirs in taken.items():
        found[ours] = _scalar(flat[theirs].combine_chunks(), TAKEN[ours])
    if "rv" in found and "rv_source" not in found:
        found["rv_source"] = _where(found["rv"].is_valid(), pa.scalar("survey"))
    if {"ra", "dec"} <= found.keys():
        placed = pc.call_function("and", [found["ra"].is_valid(), found["dec"].is_valid()])
        found["position_source"] = _where(placed, pa.scalar("survey"))
    return found


def _ids(ids: pa.Array, table: TableColumns) -> pa.Array:
    """The key, exact: integers are never read from floats, and nothing is NULL."""
    ids = ids.dictionary_decode() if isinstance(ids, pa.DictionaryArray) else ids
    integer, text = pa.types.is_integer(ids.type), pa.types.is_string(ids.type)
    text = text or pa.types.is_large_string(ids.type) or pa.types.is_string_view(ids.type)
    if not (integer or (text and table.id_type == "text")):
        raise ShardCorrupt(
            f"column {table.id}: {ids.type}, expected {table.id_type}s (survey.table.id_type); "
            "floats hold no exact ids"
        )
    if ids.null_count:
        raise ShardCorrupt(f"column {table.id}: {ids.null_count} NULLs, expected an id in every row")
    return ids.cast(pa.int64() if table.id_type == "integer" else pa.string())


def _scalar(values: pa.Array, column: Column) -> pa.Array:
    """A column of ours; what is not finite is NULL."""
    values = values.dictionary_decode() if isinstance(values, pa.DictionaryArray) else values
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), column.type)
    if pa.types.is_floating(values.type):
        if pa.types.is_integer(column.type) and column.name.endswith("_id"):
            raise ShardCorrupt(
                f"column {column.name}: {values.type}, expected int64: floats hold no exact ids"
            )
        values = values.cast(pa.float64())
        values = _where(pc.call_function("is_finite", [values]), values)
    return values.cast(column.type)


def _where(known: pa.Array, values: pa.Array | pa.Scalar) -> pa.Array:
    """Values, NULL where they are not known."""
    return pc.call_function("if_else", [known, values, pa.scalar(None, values.type)])


class _Room:
    """The arrays of all rows, filled piece by piece. A row without flux, errors or wavelengths is dark."""

    def __init__(self, table: TableColumns, rows: int) -> None:
        shape = (rows, table.pixels)
        self.table, self.done = table, 0
        self.flux_NP = np.zeros(shape, np.float32)
        self.ivar_NP = np.zeros(shape, np.float32)
        self.mask_NP = np.zeros(shape, np.int32)
        self.wave_NP = None if table.wave is None else np.full(shape, np.nan)
        # Where a row's pixels would lie that has none: only a mask can say that they are missing.
        self._dark = np.linspace(*(table.span or (0, 1)), table.pixels)

    def take(self, piece: pa.RecordBatch) -> None:
        """The arrays of the next rows."""
        rows = slice(self.done, self.done + len(piece))
        known_N = matrix(piece[self.table.flux], self.table.flux, self.flux_NP[rows])
        known_N &= self._errors(piece, self.ivar_NP[rows])
        if self.table.mask is not None:
            known_N &= _mask(piece[self.table.mask], self.table.mask, self.mask_NP[rows])
        if self.wave_NP is not None and self.table.wave is not None:
            with_wave_N = matrix(piece[self.table.wave], self.table.wave, self.wave_NP[rows])
            check_waves(self.wave_NP[rows], with_wave_N, self.table)
            known_N &= np.isfinite(self.wave_NP[rows]).any(axis=1)
            self.wave_NP[rows][~known_N] = self._dark
        self.ivar_NP[rows][~known_N] = 0
        self.mask_NP[rows][~known_N] = 1
        self.done += len(piece)

    def _errors(self, piece: pa.RecordBatch, out: npt.NDArray[np.float32]) -> Bools:
        if self.table.ivar is not None:
            return matrix(piece[self.table.ivar], self.table.ivar, out)
        assert self.table.error is not None
        error_NP = np.zeros(out.shape)
        known_N = matrix(piece[self.table.error], self.table.error, error_NP)
        with np.errstate(over="ignore"):
            out[:] = ivar_of(error_NP)
        return known_N

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The array columns of the batch."""
        found: dict[str, npt.NDArray[Any]] = {
            "flux_table": self.flux_NP,
            "ivar_table": self.ivar_NP,
            "mask_table": self.mask_NP,
        }
        return found if self.wave_NP is None else found | {"wave_table": self.wave_NP}


def _mask(column: pa.Array, name: str, out: npt.NDArray[np.int32]) -> Bools:
    """A mask as int32; of bits beyond the 32nd it is kept that there are some."""
    wide_NP = np.zeros(out.shape, np.int64)
    storage = column.storage if isinstance(column, pa.ExtensionArray) else column
    if pa.types.is_nested(storage.type) and pa.types.is_floating(storage.type.value_type):
        raise ShardCorrupt(f"column {name}: {column.type}, expected arrays of integers")
    known_N = matrix(column, name, wide_NP)
    low_NP = wide_NP.astype(np.int32)
    out[:] = np.where((wide_NP != 0) & (low_NP == 0), 1, low_NP)
    return known_N
