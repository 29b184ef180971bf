"""What every runtime does with one task: read it, infer it, stage it."""

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import torch
from threadpoolctl import threadpool_limits

from engine.auxiliary import Table, join, published_columns, table_digests
from engine.draw import Drawer, Network, drawer_of
from engine.errors import ShardError, ShardUnavailable, TaskMismatch
from engine.models.model import Model, load_model
from engine.plan import Plan
from engine.route import infer
from engine.runtime.device import enough_memory
from engine.spec import Profile, RunSpec, SideColumn, digest
from engine.surveys import survey_of
from engine.surveys.seen import seen
from engine.types import Batch, Inputs, Receipt, Sink, Task

READ_ATTEMPTS = 3
FIRST_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What readers and workers of a plan need to know of it."""

    spec: RunSpec
    tables: tuple[Table, ...]
    prepare_with_read: bool
    rows: int
    """Of the largest task."""
    graphs: bool = False
    """Whether a card records its launches once and repeats them."""


def work_of(plan: Plan, profile: Profile) -> Work:
    """The work of a plan under a profile."""
    return Work(
        spec=plan.spec,
        tables=plan.auxiliary,
        prepare_with_read=profile.prepare == "read",
        rows=plan.most_rows,
        graphs=profile.graphs,
    )


def read_batch(work: Work, task: Task) -> Batch:
    """One task's spectra. The one place where a ShardError, and only that, becomes a failed batch."""
    spec = work.spec
    at_first = seen(spec.survey, task.shard)
    try:
        spectra = _read_patiently(spec, work.tables, task)
        batch = Batch(task=task, spectra=spectra, seen=at_first)
        return prepared(batch, load(work)[0].prepare) if work.prepare_with_read else batch
    except ShardError as error:
        ids = survey_of(spec.survey).read_ids(spec.survey, task)
        return Batch(task=task, spectra=ids, failure=f"{type(error).__name__}: {error}", seen=at_first)


def prepared(batch: Batch, prepare: Callable[[pa.Table], Inputs]) -> Batch:
    """The batch with its inputs, if it has spectra and lacks them; and how long that took."""
    if batch.failure is not None or batch.inputs is not None:
        return batch
    start = time.perf_counter()
    inputs = prepare(batch.spectra)
    return replace(batch, inputs=inputs, prepare_seconds=time.perf_counter() - start)


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
    draw: Drawer
    sink: Sink
    rows: int
    """Of the largest batch."""
    side: tuple[SideColumn, ...] = ()
    where: str = ""

    def label(self, batch: Batch, read_seconds: float) -> Receipt:
        """Infer one batch and stage it; TaskMismatch unless every row of it comes back.

        RunError where a card's memory runs out. `read_seconds` is all that its reader took. What a GPU has
        not done yet counts where it is waited for.
        """
        read = read_seconds - batch.prepare_seconds
        with enough_memory(self.rows):
            batch = prepared(batch, self._prepare)
            start = time.perf_counter()
            rows = infer(batch, self.model, self.draw, self.side)
        if len(rows) != len(batch.spectra):
            raise TaskMismatch(f"task {batch.task.task_id}: {len(batch.spectra)} rows in, {len(rows)} out")
        seconds = {"read": read, "wait": batch.wait_seconds, "prepare": batch.prepare_seconds}
        seconds |= {"draw": time.perf_counter() - start}
        return self.sink.stage(
            batch.task, rows, failure=batch.failure, seconds=seconds, seen=batch.seen, where=self.where
        )

    def _prepare(self, spectra: pa.Table) -> Inputs:
        return self.model.prepare(spectra, self.draw.away)


def start_worker(work: Work, sink: Sink, device: torch.device, node: str = "") -> Worker:
    """Load the bundle and thin its networks; `node` is what Ray calls the place, beside the host's name."""
    assert work.spec.sampling is not None, "a plan fills it in"
    model, trained = load(work)
    with enough_memory(work.rows):
        draw = drawer_of(
            trained,
            work.spec.sampling,
            device,
            rows=work.rows,
            inputs=model.architecture.inputs,
            graphs=work.graphs,
        )
    where = "/".join(name for name in (socket.gethostname(), node) if name)
    return Worker(model=model, draw=draw, sink=sink, rows=work.rows, side=work.spec.catalog.side, where=where)


def load(work: Work) -> tuple[Model, tuple[Network, ...]]:
    """The model and its trained networks, loaded once per process.

    From here on arithmetic runs on one thread, torch's and that of numpy's BLAS, so that a label is the same
    whatever the machine's share of cores: sums are taken in another order on several.
    """
    key = digest([work.spec.model_dump(mode="json", by_alias=True), table_digests(work.tables)])
    if key not in _LOADED:
        torch.set_num_threads(1)
        threadpool_limits(1)
        _LOADED.clear()
        _LOADED[key] = _load(work.spec, work.tables)
    return _LOADED[key]


_LOADED: dict[str, tuple[Model, tuple[Network, ...]]] = {}


def _load(spec: RunSpec, tables: Sequence[Table]) -> tuple[Model, tuple[Network, ...]]:
    survey = survey_of(spec.survey)
    assert spec.sampling is not None, "a plan fills it in"
    return load_model(
        spec.model.bundle,
        keys=survey.keys,
        spectrograph=survey.spectrograph,
        sampling=spec.sampling,
        sha256=spec.model.sha256,
        joined=published_columns(tables),
        rounded=spec.catalog.rounded,
    )
