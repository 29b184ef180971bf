"""A plan on Ray Data: read tasks feed an actor pool that infers and stages; only receipts come back."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from functools import cached_property

import pyarrow as pa
import ray
import ray.data
import torch
from ray.data import ActorPoolStrategy, DataContext, Dataset
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask
from ray.data.exceptions import ExecutionTimeoutError

from engine.errors import AbundantError, PlanError, RunError
from engine.plan import Plan
from engine.runtime.blocks import is_outcome, pack, pack_outcome, unpack, unpack_outcome
from engine.runtime.metrics import counted
from engine.runtime.ray_fit import Need, pool_size
from engine.runtime.worker import Work, Worker, read_batch, start_worker, work_of
from engine.spec import Profile
from engine.types import Receipt, Sink, Task

# Without progress for this long something is starved (ray#44687 waits for ever by default).
NO_PROGRESS_S = 300


class SpectraSource(Datasource):
    """One read task, and one block, per task of the plan."""

    def __init__(self, plan: Plan, work: Work, fused: bool) -> None:
        super().__init__()
        self._work = work
        self._tasks, self._row_bytes = plan.tasks, plan.row_bytes
        self._fused = fused

    def estimate_inmemory_data_size(self) -> int:
        """Bytes of all arrays."""
        return sum(_rows(task) for task in self._tasks) * self._row_bytes

    def get_read_tasks(
        self,
        parallelism: int,  # noqa: ARG002
        per_task_row_limit: int | None = None,  # noqa: ARG002
        data_context: DataContext | None = None,  # noqa: ARG002
    ) -> list[ReadTask]:
        """A read task per task, whatever parallelism Ray would like: a block must be exactly one task."""
        return [self._read_task(task) for task in self._tasks]

    def _read_task(self, task: Task) -> ReadTask:
        size = max(1, _rows(task) * self._row_bytes)
        files = (task.shard.path,)
        about = BlockMetadata(num_rows=1, size_bytes=size, input_files=files, exec_stats=None)
        return ReadTask(_reading(self._work, task, self._fused), about)


def _rows(task: Task) -> int:
    return task.stop - task.start


def _reading(work: Work, task: Task, fused: bool) -> Callable[[], Iterator[pa.Table]]:
    """What a read task does; a function of its own, so that it carries one task and not all of them."""

    def read() -> Iterator[pa.Table]:
        started = time.perf_counter()
        try:
            if fused:
                check_fused()
            yield pack(read_batch(work, task), started)
        except AbundantError as error:
            yield pack_outcome(error)

    return read


def check_fused() -> None:
    """RunError, before the first spectrum is read, where a read is not done by the actor that labels it."""
    if ray.get_runtime_context().get_actor_id() is None:
        raise RunError(
            "Ray Data did not fuse read and actor, so spectra would pass through the object store; run with "
            'runtime = "local", or with the version of Ray that this program was installed with'
        )


class Labeller:
    """The actor: a worker that takes blocks of one task and gives blocks of one receipt."""

    def __init__(self, work: Work, sink: Sink) -> None:
        self._work, self._sink = work, sink

    @cached_property
    def _worker(self) -> Worker:
        """Made with the first task, where an error of the bundle can be told like any other."""
        device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
        return start_worker(self._work, self._sink, device, ray.get_runtime_context().get_node_id())

    def __call__(self, block: pa.Table) -> pa.Table:
        if is_outcome(block):
            return block
        try:
            return pack_outcome(self._worker.label(*unpack(block)))
        except AbundantError as error:
            return pack_outcome(error)


def execute_ray_data(plan: Plan, sink: Sink, profile: Profile) -> Iterator[Receipt]:
    """Receipts of the plan's tasks as they are done, in any order.

    With the same CPUs for reader and actor, and no GPU, Ray fuses both: spectra never enter the object
    store. With a GPU on the actor the read stays on CPU tasks and overlaps. PlanError where the cluster
    cannot hold the profile's actors; RunError if the fusion that should happen does not, or nothing moves.
    """
    if not plan.tasks:
        return
    connect(profile)
    yield from counted(plan, _receipts(_pipeline(plan, sink, profile)))


def _receipts(outcomes: Dataset) -> Iterator[Receipt]:
    """Receipts as they come; raises the error that one of the blocks holds. RunError where nothing moves."""
    try:
        for batch in outcomes.iter_batches(batch_size=None, batch_format="pyarrow"):
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


def _need(plan: Plan, profile: Profile) -> Need:
    """A task is a block; without a GPU, read and actor are one and it never enters the object store."""
    block = max(_rows(task) for task in plan.tasks) * plan.row_bytes
    return Need(block=block, through_store=profile.gpus > 0)


def _pipeline(plan: Plan, sink: Sink, profile: Profile) -> Dataset:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = NO_PROGRESS_S
    size, work = min(pool_size(profile, _need(plan, profile)), len(plan.tasks)), work_of(plan, profile)
    spectra = ray.data.read_datasource(
        SpectraSource(plan, work, fused=profile.gpus == 0),
        override_num_blocks=len(plan.tasks),
        num_cpus=profile.cpus,
    )
    return spectra.map_batches(
        Labeller,
        fn_constructor_args=(work, sink),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=2),
        num_cpus=profile.cpus,
        num_gpus=profile.gpus or None,
    )
