"""A task's batch as one row of an Arrow block, without copying its arrays.

Ray Data may cut or join blocks between rows, and may drop empty ones. A block of one row that holds a
whole task can be neither cut nor empty: a task without a star, and one that failed, travel like any other.
"""

import json
import time
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from engine.errors import TaskMismatch
from engine.types import Batch, Extent, Receipt, Shard, Task


def pack(batch: Batch, started: float) -> pa.Table:
    """One row: the task, the failure, the seconds since `started`, and the spectra nested in a list."""
    spectra = batch.spectra.combine_chunks()
    columns = [
        spectra[name].chunk(0) if len(spectra) else pa.array([], field.type)
        for name, field in _fields(spectra)
    ]
    rows = pa.StructArray.from_arrays(columns, fields=list(spectra.schema))
    nested = pa.LargeListArray.from_arrays(pa.array([0, len(spectra)], pa.int64()), rows)
    return pa.table(
        {
            "task": pa.array([json.dumps(asdict(batch.task))]),
            "failure": pa.array([batch.failure], pa.string()),
            "read_seconds": pa.array([time.perf_counter() - started]),
            "spectra": nested,
        }
    )


def unpack(block: pa.Table) -> tuple[Batch, float]:
    """The batch and its reading time; TaskMismatch unless the block is exactly one task."""
    if len(block) != 1:
        raise TaskMismatch(f"Ray Data handed over {len(block)} tasks in one batch, expected exactly one")
    row = block["spectra"].combine_chunks()
    spectra = pa.Table.from_struct_array(
        row.chunk(0).flatten() if isinstance(row, pa.ChunkedArray) else row.flatten()
    )
    task = _task(json.loads(block["task"][0].as_py()))
    batch = Batch(task=task, spectra=spectra, failure=block["failure"][0].as_py())
    return batch, block["read_seconds"][0].as_py()


def _fields(spectra: pa.Table) -> list[tuple[str, pa.Field]]:
    return [(field.name, field) for field in spectra.schema]


def _task(plain: dict[str, Any]) -> Task:
    shard = plain.pop("shard")
    extents = {
        name: Extent(**(item | {"shape": tuple(item["shape"])}))
        for name, item in shard.pop("extents").items()
    }
    return Task(shard=Shard(**shard, extents=extents), **plain)


def pack_receipt(receipt: Receipt) -> pa.Table:
    """A receipt as a block of one row."""
    return pa.table({"receipt": pa.array([json.dumps(receipt.to_dict())])})


def unpack_receipt(text: str) -> Receipt:
    """The receipt in a block's row."""
    return Receipt(**json.loads(text))
