"""Arrays that stand in a table as text: JSON lists [1.0,null,…] or tuples (1.0, nan, …)."""

from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import compute

from engine.errors import ShardCorrupt

# Its functions are made when it is imported, so that no checker knows them.
pc: Any = compute


def parse_arrays(column: pa.Array, name: str, pixels: int) -> np.ndarray:
    """A column of text as numbers, shape (N, pixels); NaN where a row has no array, or null in it.

    ShardCorrupt for text that is no array of that many numbers. Arrow splits and parses: 40 to 60 ns for a
    number, a sixth of json.loads or numpy.fromstring.
    """
    found_NP = np.full((len(column), pixels), np.nan)
    text = column.drop_null()
    if not len(text):
        return found_NP
    lists = pc.split_pattern(_unwrapped(text, name), ",")
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    if wrong := set(lengths[lengths != pixels].tolist()):
        raise ShardCorrupt(f"column {name}: arrays of {min(wrong)} numbers, expected {pixels}")
    values = _numbers(lists.flatten(), name)
    found_NP[column.is_valid().to_numpy(zero_copy_only=False)] = values.reshape(-1, pixels)
    return found_NP


def _unwrapped(text: pa.Array, name: str) -> pa.Array:
    """What stands between the brackets."""
    trimmed = pc.ascii_trim_whitespace(text)
    first, last = (_slice(trimmed, *span) for span in ((0, 1), (-1, None)))
    for opening, closing in (("[", "]"), ("(", ")")):
        whole = pc.and_(pc.equal(first, opening), pc.equal(last, closing))
        if pc.all(whole).as_py():
            return _slice(trimmed, 1, -1)
    raise ShardCorrupt(f"column {name}: {trimmed[0].as_py()[:40]!r} …, expected numbers between brackets")


def _slice(text: pa.Array, start: int, stop: int | None) -> pa.Array:
    return pc.utf8_slice_codeunits(text, start, stop)


def _numbers(text: pa.Array, name: str) -> np.ndarray:
    try:
        return _cast(text)
    except pa.ArrowInvalid:
        pass
    words = pc.ascii_lower(pc.ascii_trim_whitespace(text))
    missing = pc.is_in(words, pa.array(["null", "nan", "none", ""]))
    try:
        return _cast(pc.if_else(missing, "nan", words))
    except pa.ArrowInvalid as error:
        raise ShardCorrupt(f"column {name}: expected numbers: {error}") from error


def _cast(text: pa.Array) -> np.ndarray:
    return pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False)
