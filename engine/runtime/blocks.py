"""A task's batch as one row of an Arrow block, without copying its arrays.

Ray Data may cut or join blocks between rows, and may drop empty ones. A block of one row that holds a
whole task can be neither cut nor empty: a task without a star, and one that failed, travel like any other.
"""

import json
import time
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from engine import errors
from engine.errors import AbundantError, TaskMismatch
from engine.runtime.inputs import pack_inputs, unpack_inputs, without_arrays
from engine.types import Batch, Extent, Member, Receipt, Shard, Task


def pack(batch: Batch, started: float) -> pa.Table:
    """One row: the task, the failure, the seconds since `started`, and the spectra nested in a list.

    The time of day says how long the block lies before it is unpacked; it reaches no label.
    """
    spectra = batch.spectra if batch.inputs is None else without_arrays(batch.spectra)
    columns = [_contiguous(column) for column in spectra.columns]
    rows = pa.StructArray.from_arrays(columns, fields=list(spectra.schema))
    nested = pa.LargeListArray.from_arrays(pa.array([0, len(spectra)], pa.int64()), rows)
    return pa.table(
        {
            "task": pa.array([json.dumps(asdict(batch.task))]),
            "failure": pa.array([batch.failure], pa.string()),
            "seen": pa.array([batch.seen]),
            "read_seconds": pa.array([time.perf_counter() - started]),
            "prepare_seconds": pa.array([batch.prepare_seconds]),
            "packed": pa.array([time.time()]),
            "spectra": nested,
            "inputs": pack_inputs(batch.inputs),
        }
    )


def _contiguous(column: pa.ChunkedArray) -> pa.Array:
    """The only chunk as it is; combine_chunks would copy it."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def unpack(block: pa.Table) -> tuple[Batch, float]:
    """The batch and its reading time; TaskMismatch unless the block is exactly one task."""
    if len(block) != 1:
        raise TaskMismatch(f"Ray Data handed over {len(block)} tasks in one batch, expected exactly one")
    spectra = pa.Table.from_struct_array(block["spectra"].chunk(0).flatten())
    task = _task(json.loads(block["task"][0].as_py()))
    failure, seen = block["failure"][0].as_py(), block["seen"][0].as_py()
    inputs = unpack_inputs(block["inputs"].chunk(0))
    batch = Batch(
        task=task,
        spectra=spectra,
        failure=failure,
        seen=seen,
        inputs=inputs,
        prepare_seconds=block["prepare_seconds"][0].as_py(),
        # Clocks of two machines may differ by more than a block lies.
        wait_seconds=max(0.0, time.time() - block["packed"][0].as_py()),
    )
    return batch, block["read_seconds"][0].as_py()


def _task(plain: dict[str, Any]) -> Task:
    shard = plain.pop("shard")
    extents = {
        name: Extent(**(item | {"shape": tuple(item["shape"])}))
        for name, item in shard.pop("extents").items()
    }
    members = tuple(Member(**item) for item in shard.pop("members"))
    return Task(shard=Shard(**shard, extents=extents, members=members), **plain)


def pack_outcome(outcome: Receipt | AbundantError) -> pa.Table:
    """A receipt, or the error that should end the run, as a block of one row.

    Raised in the actor, an error would reach the driver as Ray's, with a page of its stack for a message.
    """
    if isinstance(outcome, Receipt):
        return pa.table({"kind": ["Receipt"], "content": [json.dumps(outcome.to_dict())]})
    return pa.table({"kind": [type(outcome).__name__], "content": [str(outcome)]})


def is_outcome(block: pa.Table) -> bool:
    """Whether a block holds an outcome already: reading the task ended with an error for the whole run."""
    return "kind" in block.column_names


def unpack_outcome(kind: str, content: str) -> Receipt:
    """The receipt in a block's row; raises the error if it holds one."""
    if kind == "Receipt":
        return Receipt(**json.loads(content))
    raise getattr(errors, kind)(content)
