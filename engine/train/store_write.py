"""Writing a training set: group by group, in a folder that appears as a whole."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.columns import bytes_of
from engine.train.store import ABOUT
from engine.types import Column

# Of one row group: a read of one row anywhere costs it all.
GROUP_BYTES = 2 * 2**20
LEAST_ROWS, MOST_ROWS = 16, 1024
GROUPS_IN_FILE = 256


class Writer:
    """Rows in, files of equal row groups out: the same bytes however the rows came."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        width = bytes_of(Column(name=field.name, type=field.type, description="") for field in schema)
        self._rows = int(np.clip(GROUP_BYTES // max(width, 1), LEAST_ROWS, MOST_ROWS))
        self._waiting: list[pa.Table] = []
        self._file: pq.ParquetWriter | None = None
        self._groups = 0
        self.files: dict[str, int] = {}

    def add(self, rows: pa.Table) -> None:
        """Some rows more."""
        self._waiting.append(rows)
        waiting = sum(map(len, self._waiting))
        if waiting >= self._rows:
            table = pa.concat_tables(self._waiting)
            whole = waiting // self._rows * self._rows
            for start in range(0, whole, self._rows):
                self._write(table.slice(start, self._rows))
            # A copy, or the rest would hold all of it in memory.
            self._waiting = [table.take(np.arange(whole, waiting))] if whole < waiting else []

    def _write(self, group: pa.Table) -> None:
        if self._file is None:
            name = f"stars-{len(self.files):05d}.parquet"
            self._file = pq.ParquetWriter(
                self._folder / name, self._schema, compression="none", use_dictionary=False
            )
            self.files[name], self._groups = 0, 0
        self._file.write_table(group.combine_chunks(), row_group_size=self._rows)
        self.files[[*self.files][-1]] += len(group)
        self._groups += 1
        if self._groups == GROUPS_IN_FILE:
            self.close_file()

    def close_file(self) -> None:
        """End the file that is being written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Write what waits."""
        if any(map(len, self._waiting)):
            self._write(pa.concat_tables(self._waiting))
        self._waiting = []
        self.close_file()


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """set.json, the last file of a set."""
    (folder / ABOUT).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def thinned(folder: Path, files: Mapping[str, int], keep_N: np.ndarray, out: Writer) -> None:
    """Copy the rows that are kept, a row group at a time, and remove the files they come from."""
    start = 0
    for name in files:
        for group in _groups(folder / name):
            out.add(group.filter(pa.array(keep_N[start : start + len(group)])))
            start += len(group)
        (folder / name).unlink()
    out.close()


def _groups(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, use_threads=False)
