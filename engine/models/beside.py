"""What networks take beside pixels, from columns of the batch as they are."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from engine.prepare.array import column
from engine.types import Doubles, Extra, Extras


def numbers(spectra: pa.Table, extras: Sequence[Extra]) -> Extras:
    """Scalars and arrays under the names of the extras, NaN where a row has none."""
    parts = [_part(spectra, extra) for extra in extras]
    return Extras(
        names=tuple(name for extra in extras for name in [extra.name] * extra.size),
        value_NE=np.concatenate(parts, axis=1).astype(np.float32),
        saturated_N=np.zeros(len(spectra), bool),
    )


def columns_beside(extras: Sequence[Extra]) -> Callable[[pa.Table], Extras]:
    """`numbers` of these extras."""
    return lambda spectra: numbers(spectra, extras)


def _part(spectra: pa.Table, extra: Extra) -> Doubles:
    """One extra, shape (N, size)."""
    if extra.size == 1:
        return column(spectra, extra.name)[:, None]
    value_NS = np.full((len(spectra), extra.size), np.nan)
    arrays = spectra[extra.name].combine_chunks()
    known_N = arrays.is_valid().to_numpy(zero_copy_only=False)
    if known_N.any():
        value_NS[known_N] = arrays.filter(pa.array(known_N)).to_numpy_ndarray()
    return value_NS
