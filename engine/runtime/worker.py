"""What every runtime does with one task: read it, infer it, stage it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits

from engine.auxiliary import Table, join, published_columns
from engine.draw import Bank, thin
from engine.errors import ShardError, ShardUnavailable, TaskMismatch
from engine.models.model import Model, load_model
from engine.route import infer
from engine.spec import RunSpec
from engine.surveys import survey_of
from engine.surveys.seen import seen
from engine.types import Batch, Receipt, Sink, Task

READ_ATTEMPTS = 3
FIRST_PAUSE_S = 0.2


def read_batch(spec: RunSpec, tables: Sequence[Table], task: Task) -> Batch:
    """One task's spectra. The one place where a ShardError, and only that, becomes a failed batch."""
    at_first = seen(spec.survey, task.shard)
    try:
        return Batch(task=task, spectra=_read_patiently(spec, tables, task), seen=at_first)
    except ShardError as error:
        ids = survey_of(spec.survey).read_ids(spec.survey, task)
        return Batch(task=task, spectra=ids, failure=f"{type(error).__name__}: {error}", seen=at_first)


def _read_patiently(spec: RunSpec, tables: Sequence[Table], task: Task) -> pa.Table:
    """Read and join, trying again what may pass; the last attempt's error is raised."""
    survey = survey_of(spec.survey)
    for attempt in range(READ_ATTEMPTS - 1):
        try:
            return join(survey.read(spec.survey, task), tables)
        except ShardUnavailable:
            time.sleep(FIRST_PAUSE_S * 2**attempt)
    return join(survey.read(spec.survey, task), tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A loaded model with a sink: batches in, receipts out."""

    model: Model
    networks: tuple[Bank, ...]
    sink: Sink

    def label(self, batch: Batch, read_seconds: float) -> Receipt:
        """Infer one batch and stage it; TaskMismatch unless every row of it comes back."""
        start = time.perf_counter()
        rows = infer(batch, self.model, self.networks)
        if len(rows) != len(batch.spectra):
            raise TaskMismatch(f"task {batch.task.task_id}: {len(batch.spectra)} rows in, {len(rows)} out")
        seconds = {"read": read_seconds, "infer": time.perf_counter() - start}
        return self.sink.stage(batch.task, rows, failure=batch.failure, seconds=seconds, seen=batch.seen)


def start_worker(spec: RunSpec, tables: Sequence[Table], sink: Sink, device: torch.device) -> Worker:
    """Load the bundle and thin its networks.

    Arithmetic runs on one thread, torch's and that of numpy's BLAS, so that a label is the same whatever the
    machine's share of cores: sums are taken in another order on several.
    """
    torch.set_num_threads(1)
    threadpool_limits(1)
    survey = survey_of(spec.survey)
    model, trained = load_model(
        spec.model.bundle,
        keys=survey.keys,
        spectrograph=survey.spectrograph,
        sampling=spec.sampling,
        sha256=spec.model.sha256,
        joined=published_columns(tables),
    )
    return Worker(
        model=model, networks=tuple(thin(network, spec.sampling, device) for network in trained), sink=sink
    )
