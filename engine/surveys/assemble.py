"""What a reader found in a file -> a batch of spectra with exactly the survey's columns."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from engine.columns import schema
from engine.errors import ShardCorrupt
from engine.positions import source_positions
from engine.types import Column

Found: TypeAlias = Mapping[str, Any]
"""Column name -> numpy array, list or Arrow array of equal length; array columns have shape (N, pixels)."""


def assemble(columns: Sequence[Column], found: Found, rows: int) -> pa.Table:
    """A table of `rows` rows in the order of `columns`; NULL where nothing was found, and for NaN scalars.

    Where there is a Gaia source_id but no position, ra and dec become the centre of its pixel. ShardCorrupt
    when an array has another shape, or values do not fit their column's type.
    """
    target = _schema(tuple(columns))
    known = dict(found)
    if "ra" not in known and "gaia_source_id" in known:
        known |= source_positions(known["gaia_source_id"])
    elif "ra" in known and "position_source" not in known:
        known["position_source"] = pa.array(["survey"] * rows, mask=_missing(known["ra"]))
    return pa.table([_column(known.get(field.name), field, rows) for field in target], schema=target)


@lru_cache(maxsize=64)
def _schema(columns: tuple[Column, ...]) -> pa.Schema:
    return schema(columns)


def _missing(values: Any) -> np.ndarray:
    array = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
    return array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False)


def _column(values: Any, field: pa.Field, rows: int) -> pa.Array:
    if isinstance(values, pa.ExtensionArray) and values.type == field.type:
        return values
    if isinstance(field.type, pa.FixedShapeTensorType):
        return _tensor(np.zeros(0) if values is None else np.asarray(values), field, rows)
    if values is None:
        return pa.nulls(rows, field.type)
    try:
        array = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
        array = array.cast(field.type)
    except (pa.ArrowException, OverflowError) as error:
        raise ShardCorrupt(f"column {field.name}: expected values of type {field.type}: {error}") from error
    if len(array) != rows:
        raise ShardCorrupt(f"column {field.name}: {len(array)} values, expected {rows}")
    return array


def _tensor(values: np.ndarray, field: pa.Field, rows: int) -> pa.Array:
    shape = (rows, *field.type.shape)
    if values.shape != shape:
        raise ShardCorrupt(f"column {field.name}: shape {values.shape}, expected {shape}")
    if values.dtype.kind not in "fiub":
        raise ShardCorrupt(f"column {field.name}: values of type {values.dtype}, expected numbers")
    kind = field.type.value_type.to_pandas_dtype()
    with np.errstate(over="ignore"):
        flat = pa.array(np.ascontiguousarray(values, kind).reshape(-1))
    storage = pa.FixedSizeListArray.from_arrays(flat, type=field.type.storage_type)
    return pa.ExtensionArray.from_storage(field.type, storage)
