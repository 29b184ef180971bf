"""Array columns of a table as matrices, whatever kind of list they are."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from engine.errors import ShardCorrupt
from engine.types import Bools


def matrix(column: pa.Array, name: str, out: npt.NDArray[Any]) -> Bools:
    """Fill `out` (N, pixels) with the arrays of a column, and say which rows have one.

    Lists, large lists, views, fixed-size lists and tensors of numbers; a missing element becomes NaN among
    floats. ShardCorrupt where an array has another length, or what it holds are not numbers.
    """
    column = column.storage if isinstance(column, pa.ExtensionArray) else column
    if not _is_list(column.type) or not _is_number(column.type.value_type):
        raise ShardCorrupt(f"column {name}: {column.type}, expected arrays of numbers")
    known_N = column.is_valid().to_numpy(zero_copy_only=False)
    kept = column.drop_null()
    _refuse_ragged(kept, name, known_N, out.shape[1])
    flat = kept.flatten()
    if flat.null_count and not np.issubdtype(out.dtype, np.floating):
        raise ShardCorrupt(f"column {name}: {flat.null_count} missing elements, expected none in a mask")
    if pa.types.is_float16(flat.type) or flat.null_count:
        flat = flat.cast(pa.float32() if pa.types.is_float16(flat.type) else pa.float64())
    with np.errstate(over="ignore"):
        out[known_N] = flat.to_numpy(zero_copy_only=False).reshape(-1, out.shape[1])
    return known_N


def _is_list(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return any(test(kind) for test in tests)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def _refuse_ragged(kept: pa.Array, name: str, known_N: Bools, pixels: int) -> None:
    lengths = pc.call_function("list_value_length", [kept]).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(lengths != pixels)
    if len(wrong):
        row = int(np.flatnonzero(known_N)[wrong[0]])
        raise ShardCorrupt(
            f"column {name}: {len(wrong)} rows of another length, such as row {row} of its piece with "
            f"{lengths[wrong[0]]} values; expected {pixels} in each (survey.table.pixels)"
        )
