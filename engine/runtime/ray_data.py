"""A plan on Ray Data: read tasks feed an actor pool that infers and stages; only receipts come back."""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask
from ray.data.exceptions import ExecutionTimeoutError

from engine.draw.card import LANES
from engine.errors import AbundantError, PlanError, RunError
from engine.plan import Plan
from engine.runtime.blocks import is_outcome, pack_outcome, unpack, unpack_outcome
from engine.runtime.deaths import Deaths, new_run
from engine.runtime.device import lent_device
from engine.runtime.metrics import counted
from engine.runtime.ranges import Reader, fold, ranges, unfold
from engine.runtime.ray_fit import Need, pool_size
from engine.runtime.ray_helpers import bury_helpers
from engine.runtime.worker import Work, read_batch, start_worker, work_of
from engine.spec import Profile
from engine.types import Batch, Receipt, Sink, Task

# Without progress for this long something is starved (ray#44687 waits for ever by default).
NO_PROGRESS_S = 300


class SpectraSource(Datasource):
    """Read tasks, each of some tasks of the plan, of which every one becomes a block of its own."""

    def __init__(self, tasks: Sequence[Task], row_bytes: int, reader: Reader) -> None:
        super().__init__()
        self._tasks, self._row_bytes, self._reader = tasks, row_bytes, reader

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all arrays."""
        return _rows(self._tasks) * self._row_bytes

    def get_read_tasks(
        self,
        parallelism: int,  # noqa: ARG002
        per_task_row_limit: int | None = None,  # noqa: ARG002
        data_context: DataContext | None = None,  # noqa: ARG002
    ) -> list[ReadTask]:
        """A read task per range, whatever parallelism Ray would like."""
        return self._read_tasks

    @cached_property
    def _read_tasks(self) -> list[ReadTask]:
        """Ray asks for them more than once."""
        # What all of them share travels once.
        reader = ray.put(self._reader)
        return [self._read_task(reader, some) for some in ranges(self._tasks)]

    def _read_task(self, reader: ray.ObjectRef, tasks: Sequence[Task]) -> ReadTask:
        size = max(1, _rows(tasks) * self._row_bytes)
        about = BlockMetadata(num_rows=len(tasks), size_bytes=size, input_files=None, exec_stats=None)
        return ReadTask(_reading(reader, fold(tasks)), about)


def _rows(tasks: Sequence[Task]) -> int:
    return sum(task.stop - task.start for task in tasks)


def _reading(reader: ray.ObjectRef, folded: bytes) -> Callable[[], Iterator[pa.Table]]:
    """What a read task does; a function of its own, so that it carries its tasks and not all of them."""

    def read() -> Iterator[pa.Table]:
        shared: Reader = ray.get(reader)
        return shared.blocks(unfold(folded))

    return read


class Labels(Protocol):
    """Who labels a batch; a `Worker` once it is ready."""

    def label(self, batch: Batch, read_seconds: float, /) -> Receipt:
        """Infer and stage."""
        ...


# By Ray's name of its node.
Start = Callable[[str], Labels]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What is done with every task, wherever that is; picklable."""

    read: Callable[[Task], Batch]
    start: Start


class Labeller:
    """The actor: a worker that takes blocks of one task and gives blocks of one receipt."""

    def __init__(self, start: Start, deaths: Deaths) -> None:
        self._start, self._deaths = start, deaths
        # Of the threads that keep a card busy one starts the worker.
        self._starting = threading.Lock()

    def __call__(self, block: pa.Table) -> pa.Table:
        if is_outcome(block):
            return block
        try:
            batch, read_seconds = unpack(block)
            with self._deaths.over(batch.task.task_id, "label", self._node):
                with self._starting:
                    worker = self._worker
                return pack_outcome(worker.label(batch, read_seconds))
        except AbundantError as error:
            return pack_outcome(error)

    @cached_property
    def _worker(self) -> Labels:
        """Made with the first task, where an error of the bundle can be told like any other."""
        return self._start(self._node)

    @property
    def _node(self) -> str:
        return ray.get_runtime_context().get_node_id()


def execute_ray_data(plan: Plan, sink: Sink, profile: Profile) -> Iterator[Receipt]:
    """Receipts of the plan's tasks as they are done, in any order.

    With the same CPUs for reader and actor, and no GPU, Ray fuses both: spectra never enter the object
    store. With a GPU on the actor the read stays on CPU tasks and overlaps. PlanError where the cluster
    cannot hold the profile's actors; RunError if the fusion that should happen does not, or nothing moves.
    """
    work = work_of(plan, profile)
    steps = Steps(read=partial(read_batch, work), start=partial(_start, work, sink))
    return counted(plan, do_on_ray(plan.tasks, plan.row_bytes, steps, profile))


def _start(work: Work, sink: Sink, node: str) -> Labels:
    return start_worker(work, sink, lent_device(), node)


def do_on_ray(tasks: Sequence[Task], row_bytes: int, steps: Steps, profile: Profile) -> Iterator[Receipt]:
    """As `execute_ray_data`, whatever the steps are; `row_bytes` is what a row takes in memory."""
    if not tasks:
        return
    connect(profile)
    pipeline = _pipeline(tasks, row_bytes, steps, profile)
    try:
        for batch in pipeline.iter_batches(batch_size=None, batch_format="pyarrow"):
            table = pa.table(batch)
            yield from map(unpack_outcome, table["kind"].to_pylist(), table["content"].to_pylist())
    except ExecutionTimeoutError as error:
        free = {name: ray.available_resources().get(name, 0) for name in ("CPU", "GPU")}
        raise RunError(
            f"nothing moved for {NO_PROGRESS_S} s: {free['CPU']:g} CPUs and {free['GPU']:g} GPUs of the "
            "cluster are free, others hold the rest; run the same command again when there is room"
        ) from error


def connect(profile: Profile) -> None:
    """Join the cluster that RAY_ADDRESS names, else start one on this machine, quietly; once per process."""
    if ray.is_initialized():
        return
    # Ray's notices would drown the progress; what matters comes back as an exception. The C++ core prints
    # an error for every actor with constructor arguments (ray#53727), whatever happens to them.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        ray.init(
            # A cluster that is joined has its own; whether it is large enough is asked before work starts.
            object_store_memory=None if os.environ.get("RAY_ADDRESS") else profile.object_store,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError) as error:
        raise PlanError(
            f"Ray cannot be joined or started: {error}\nCheck RAY_ADDRESS (now "
            f"{os.environ.get('RAY_ADDRESS', 'not set')}), the cluster's token, and `object_store` in the "
            "profile"
        ) from error
    if os.environ.get("RAY_ADDRESS"):
        bury_helpers()


def _need(tasks: Sequence[Task], row_bytes: int, profile: Profile) -> Need:
    """A task is a block; without a GPU, read and actor are one and it never enters the object store."""
    block = max(task.stop - task.start for task in tasks) * row_bytes
    return Need(block=block, through_store=profile.gpus > 0)


def _pool(size: int, profile: Profile) -> ActorPoolStrategy:
    """With a card as many tasks are in work as it has lanes, each in a thread of its own."""
    if profile.gpus == 0:
        return ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=profile.in_flight)
    return ActorPoolStrategy(
        size=size,
        max_tasks_in_flight_per_actor=max(profile.in_flight, LANES),
        max_concurrent_calls_per_actor=LANES,
        enable_true_multi_threading=True,
    )


def _pipeline(tasks: Sequence[Task], row_bytes: int, steps: Steps, profile: Profile) -> Dataset:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = NO_PROGRESS_S
    # No two blocks are ever joined, and none waits for another: each is larger than this.
    context.target_max_block_size = 1
    size = min(pool_size(profile, _need(tasks, row_bytes, profile)), len(tasks))
    deaths = Deaths(run=new_run(), bound=profile.retries)
    reader = Reader(read=steps.read, fused=profile.gpus == 0, deaths=deaths)
    spectra = ray.data.read_datasource(
        SpectraSource(tasks, row_bytes, reader),
        override_num_blocks=len(ranges(tasks)),
        num_cpus=profile.cpus,
    )
    return spectra.map_batches(
        Labeller,
        fn_constructor_args=(steps.start, deaths),
        # A row is a task. With GPUs Ray wants a number; without, it would not fuse with one.
        batch_size=1 if profile.gpus else None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=_pool(size, profile),
        num_cpus=profile.cpus,
        num_gpus=profile.gpus or None,
    )
