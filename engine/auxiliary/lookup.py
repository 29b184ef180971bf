"""Rows of a sorted copy by key: only the row groups that can hold a wanted key are read."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.auxiliary.sorted_copy import INDEX_FILE, KEY, part_path
from engine.types import Ints

# Row groups that are held in memory at once.
GROUPS_AT_ONCE = 8
OPENED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Where the row groups of a copy lie and the first key of each; keys ascend over all of them."""

    part_G: Ints
    group_G: Ints
    first_G: npt.NDArray[Any]


def rows_of(folder: Path, keys: pa.Array) -> pa.Table:
    """One row for each key, in their order; NULL throughout where the key is NULL or not there.

    OSError or ArrowException when the copy is gone or damaged.
    """
    index = _index(folder)
    wanted = np.unique(keys.drop_null().to_numpy(zero_copy_only=False))
    slots = np.searchsorted(index.first_G, wanted, side="right") - 1
    wanted, slots = wanted[slots >= 0], slots[slots >= 0]
    needed = np.unique(slots).tolist()
    found = [
        _matches(folder, part, [int(index.group_G[slot]) for slot in run], wanted)
        for part, run in _runs(index, needed)
    ]
    table = pa.concat_tables(found) if found else _schema(folder).empty_table()
    known = pc.SetLookupOptions(table[KEY].combine_chunks(), skip_nulls=True)
    return table.take(pc.call_function("index_in", [keys], known)).drop_columns([KEY])


def _runs(index: Index, slots: list[int]) -> list[tuple[int, list[int]]]:
    """The slots by file, a few at a time."""
    runs = []
    for part, group in groupby(slots, key=lambda slot: int(index.part_G[slot])):
        together = list(group)
        runs += [(part, together[at : at + GROUPS_AT_ONCE]) for at in range(0, len(together), GROUPS_AT_ONCE)]
    return runs


def _matches(folder: Path, part: int, groups: list[int], wanted: npt.NDArray[Any]) -> pa.Table:
    """Those rows of some groups whose keys are wanted (sorted)."""
    with pq.ParquetFile(part_path(folder, part), metadata=_footer(folder, part)) as file:
        table = file.read_row_groups(groups, use_threads=False)
    keys = table[KEY].to_numpy()
    low, high = np.searchsorted(wanted, keys[0], "left"), np.searchsorted(wanted, keys[-1], "right")
    at = np.searchsorted(keys, wanted[low:high])
    return table.take(at[keys[at] == wanted[low:high]])


@lru_cache(maxsize=OPENED)
def _index(folder: Path) -> Index:
    table = pq.read_table(folder / INDEX_FILE)
    return Index(
        part_G=table["part"].to_numpy(), group_G=table["group"].to_numpy(), first_G=table["first"].to_numpy()
    )


@lru_cache(maxsize=OPENED)
def _footer(folder: Path, part: int) -> pq.FileMetaData:
    return pq.read_metadata(part_path(folder, part))


def _schema(folder: Path) -> pa.Schema:
    return pq.read_schema(part_path(folder, 0))
