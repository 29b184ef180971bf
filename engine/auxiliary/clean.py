"""Values of a table as they go into a batch: of our type, and NULL wherever there is no number."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.auxiliary.wanted import Wanted
from engine.errors import PlanError
from engine.spec import Auxiliary
from engine.types import Bools


def clean(values: pa.Array, wanted: Wanted, spec: Auxiliary) -> pa.Array:
    """A piece of a column in its final type; NULL for NaN, infinity and the spec's `missing`.

    An array is one value: with one element missing, or no element at all, it is missing. PlanError when
    arrays are of unequal length.
    """
    kind = wanted.column.type
    if isinstance(kind, pa.FixedShapeTensorType):
        return _clean_arrays(values, wanted, spec)
    cast = values.cast(kind)
    numbers_N = _numbers(cast)
    return pa.array(numbers_N, kind, mask=_is_null(cast) | ~_is_value(numbers_N, spec.missing))


def _is_null(values: pa.Array) -> Bools:
    return values.is_null().to_numpy(zero_copy_only=False)


def _numbers(values: pa.Array) -> npt.NDArray[Any]:
    """The values as they are, 0 for NULL."""
    return values.fill_null(0).to_numpy(zero_copy_only=False)


def _is_value(numbers: npt.NDArray[Any], missing: tuple[float, ...]) -> Bools:
    """Where there is a number. It is compared in single precision: a file may hold float32(-9999.99)."""
    return np.isfinite(numbers) & ~np.isin(numbers.astype(np.float32), np.array(missing, np.float32))


def _clean_arrays(lists: pa.Array, wanted: Wanted, spec: Auxiliary) -> pa.Array:
    kind = wanted.column.type
    (length,) = kind.shape
    lengths_N = np.diff(lists.offsets.to_numpy()) * ~_is_null(lists)
    if wrong := sorted(set(np.unique(lengths_N).tolist()) - {0, length}):
        raise PlanError(
            f"auxiliary: arrays of {wanted.theirs} in {spec.path} are of unequal length: {length}, "
            f"{', '.join(map(str, wrong))}; pad or cut them to one"
        )
    elements = lists.flatten().cast(kind.value_type)
    numbers = _numbers(elements)
    good = ~_is_null(elements) & _is_value(numbers, spec.missing)
    there_N = lengths_N > 0
    values_NP = np.zeros((len(lists), length), numbers.dtype)
    values_NP[there_N] = numbers.reshape(-1, length)
    there_N[there_N] = good.reshape(-1, length).all(axis=1)
    storage = pa.FixedSizeListArray.from_arrays(
        pa.array(values_NP.reshape(-1)), type=kind.storage_type, mask=pa.array(~there_N)
    )
    return pa.ExtensionArray.from_storage(kind, storage)
