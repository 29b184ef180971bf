"""A survey of a million files on paper: planning it, and following a run of it whose tasks only wait.

The files are empty, the index knows what would be in them, and a task is done when its receipt is there. All
that the driver does is real: planning, the lease, receipts, progress, resuming, what was touched; on Ray also
read tasks, actors and what comes back from them. `python -m tests.bench scale` needs 8 GiB of memory, most of
them for the files, which lie in /dev/shm where there is such a thing.
"""

import json
import os
import queue
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import pyarrow as pa
import ray

from catalogs.lease import driving
from catalogs.stage import data_file, open_run, receipt_path
from engine.plan import Plan, make_plan
from engine.runtime import RUNTIMES
from engine.runtime.ray_data import Steps, connect, do_on_ray
from engine.spec import Profile, RunSpec, Sampling
from engine.surveys.desi.files import find
from engine.surveys.index import shard_of
from engine.surveys.index_cache import Finding, Indexed, cache_path, save
from engine.surveys.seen import seen
from engine.surveys.store import Entry, store_of
from engine.types import Batch, Extent, Receipt, Shard, Sink, Task
from jobs.run import _execute, layout_of
from tests.bundles import write_bundle

MILLION, ACTORS = 1_000_000, 1_000
FEWER = 10
PER_FOLDER, ROWS = 1_000, 500
WORKERS, WAIT_S, TASKS_EACH = (1, 8, 64), 0.5, 20
ON_RAY, RAY_WAIT_S, RAY_TASKS_EACH = (1, 8), 1.0, 20
AIMS = {
    "plan_1m_s": "< 60",
    "plan_1m_cpu_s": "< 60",
    "driver_peak_of_10x_over_1x_per_task": "about 1",
    "efficiency_64_workers": ">= 0.9",
    "ray_efficiency_8_actors": ">= 0.9",
}


def bench(work: Path) -> dict[str, float]:
    """Seconds and memory of planning and following a million tasks, against a tenth of them."""
    found: dict[str, float] = {}
    with _fast(work) as place:
        for shards in (MILLION // FEWER, MILLION):
            found |= _apart(partial(_paper, place / str(shards), shards))
            shutil.rmtree(place / str(shards))
    small, large = (found[f"driver_peak_{_name(n)}_mib"] / n for n in (MILLION // FEWER, MILLION))
    return found | {
        "driver_bytes_per_task": large * 2**20,
        "driver_peak_of_10x_over_1x_per_task": large / small,
    }


def bench_workers(work: Path) -> dict[str, float]:
    """How well a driver feeds workers that wait: in threads of its own process, and as Ray's actors."""
    with _fast(work) as place:
        token = place / "token"
        token.write_text(secrets.token_hex(32))
        # Ray looks at it when it is imported, which is in the new process.
        with patch.dict(os.environ, RAY_AUTH_TOKEN_PATH=str(token)):
            return _apart(partial(_efficiency, place / "workers")) | _apart(_ray)


@contextmanager
def _fast(work: Path) -> Iterator[Path]:
    """Millions of empty files are made in memory in seconds, on a disk in minutes."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="abundant-scale-", dir=memory if memory.is_dir() else work
    ) as place:
        yield Path(place)


def _apart(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """A measurement in a new process: a peak is one of all that a process ever did."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure).result()


def _name(tasks: int) -> str:
    return "1m" if tasks == MILLION else f"{tasks // 1000}k"


def _paper(place: Path, shards: int) -> dict[str, float]:
    """Planning, following, and resuming a run whose every file is one task."""
    spec = survey(place, shards)
    before = _memory("VmRSS")
    start, own = time.perf_counter(), time.process_time()
    plan = make_plan(spec)
    planned, own = time.perf_counter() - start, time.process_time() - own
    after_plan = _memory("VmRSS")
    actors = Told(ACTORS)
    first = _driven(plan, actors)
    second = _driven(plan, Told(ACTORS))
    name = _name(shards)
    return {
        f"plan_{name}_s": planned,
        f"plan_{name}_cpu_s": own,
        f"plan_{name}_mib": after_plan - before,
        f"driver_{name}_s": first - actors.seconds,
        f"driver_{name}_receipts_per_s": shards / (first - actors.seconds),
        f"resume_{name}_s": second,
        f"driver_peak_{name}_mib": _memory("VmHWM") - before,
    }


def survey(place: Path, shards: int) -> RunSpec:
    """Empty coadds, with an index that knows them as whole ones."""
    os.environ["ABUNDANT_CACHE"] = str(place / "cache")
    root = place / "survey"
    for first in range(0, shards, PER_FOLDER):
        folder = root / str(first)
        folder.mkdir(parents=True)
        for number in range(first, min(shards, first + PER_FOLDER)):
            os.close(os.open(folder / f"coadd-main-bright-{number}.fits", os.O_CREAT | os.O_WRONLY))
    sampling = Sampling(draws=2, seed=1)
    plain = {
        "survey": {"name": "desi", "root": root, "select": {"by": "all"}, "rv": {"from": "none"}},
        "model": {"bundle": write_bundle(place / "bundle", sampling=sampling)},
        "sampling": sampling.model_dump(),
        "catalog": {"name": "scale", "version": "1", "root": place / "catalogs"},
    }
    spec = RunSpec.model_validate(plain)
    store = store_of(spec.survey.root, spec.survey.storage)
    entries, _ = find(store, str(root))
    save(cache_path("desi", store), map(_indexed, entries))
    return spec


def _indexed(entry: Entry) -> Indexed:
    """A file of up to 500 rows, whose images lie where its rows let them."""
    number = int(entry.name.rpartition("-")[2].partition(".")[0])
    rows, offset, extents = 1 + number % ROWS, 100_800, dict[str, Extent]()
    for arm, pixels in (("B", 2751), ("R", 2326), ("Z", 2881)):
        for kind, dtype in (("FLUX", ">f4"), ("IVAR", ">f4"), ("MASK", ">i4")):
            extents[f"{arm}_{kind}"] = Extent(offset=offset, dtype=dtype, shape=(rows, pixels))
            offset += -(-4 * rows * pixels // 2880) * 2880 + 2880
    finding = Finding(rows=rows, headers=f"{number:064x}", extents=extents)
    return Indexed(entry=entry, beside=None, fingerprints=(f"{number:064x}", ""), finding=finding)


def _driven(plan: Plan, runtime: Callable[[Plan, Sink, Profile], Iterator[Receipt]]) -> float:
    """Seconds of all that `run` does between planning and committing, with another runtime."""
    layout = layout_of(plan)
    start = time.perf_counter()
    with driving(layout) as lease, patch.dict(RUNTIMES, {"local": runtime}):
        open_run(layout, plan.record())
        _execute(plan, layout, Profile(runtime="local"), lease)
    return time.perf_counter() - start


class Told:
    """A runtime whose actors are done at once; the seconds in which receipts are written are counted."""

    def __init__(self, actors: int) -> None:
        self._actors, self.seconds = actors, 0.0

    def __call__(self, plan: Plan, _sink: Sink, _profile: Profile) -> Iterator[Receipt]:
        """Receipts in the order in which so many actors would give them."""
        length = -(-len(plan.tasks) // self._actors) or 1
        parts = [plan.tasks[first : first + length] for first in range(0, len(plan.tasks), length)]
        for task in chain.from_iterable(zip_longest(*parts)):
            if task is not None:
                start = time.perf_counter()
                receipt = _staged(plan, task)
                self.seconds += time.perf_counter() - start
                yield receipt


def _staged(plan: Plan, task: Task) -> Receipt:
    """What a sink does, without its care for power cuts."""
    layout, receipt = layout_of(plan), _receipt(task, seen(plan.spec.survey, task.shard))
    (layout.staging / receipt.file).touch()
    receipt_path(layout, task.task_id).write_text(json.dumps(receipt.to_dict()))
    return receipt


def _receipt(task: Task, when: str = "") -> Receipt:
    rows = task.stop - task.start
    return Receipt(
        task_id=task.task_id,
        status="done",
        rows=rows,
        ok=rows,
        flagged=0,
        no_result=0,
        flag_counts={},
        file=data_file(task.task_id),
        bytes=0,
        sha256="0" * 64,
        seen=when,
        seconds={"read": 0.1, "infer": 0.4},
    )


def _efficiency(place: Path) -> dict[str, float]:
    """The rate of so many waiting workers over what one would make of as many."""
    rates = {}
    for workers in WORKERS:
        plan = make_plan(survey(place / str(workers), workers * TASKS_EACH))
        rates[workers] = len(plan.tasks) / _driven(plan, Waiting(workers))
    return {f"efficiency_{n}_workers": rates[n] / n / rates[1] for n in WORKERS if n > 1}


@dataclass(frozen=True)
class Waiting:
    """A runtime of threads: each takes a task, waits, and writes its receipt."""

    workers: int

    def __call__(self, plan: Plan, _sink: Sink, _profile: Profile) -> Iterator[Receipt]:
        """Receipts as they come."""
        waiting, done = iter(plan.tasks), queue.Queue[Receipt]()
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    task = next(waiting, None)
                if task is None:
                    return
                time.sleep(WAIT_S)
                done.put(_staged(plan, task))

        threads = [threading.Thread(target=work, daemon=True) for _ in range(self.workers)]
        for thread in threads:
            thread.start()
        for _ in plan.tasks:
            yield done.get()


def _ray() -> dict[str, float]:
    """The same with actors of Ray, and what a million tasks cost its driver until the first is done."""
    ray.init(num_cpus=max(ON_RAY), include_dashboard=False, log_to_driver=False, logging_level="error")
    connect(Profile())
    steps = Steps(read=_read, start=_waiter)
    rates = {n: _rate(_tasks(n * RAY_TASKS_EACH), steps, n) for n in ON_RAY}
    found = {f"ray_efficiency_{n}_actors": rates[n] / n / rates[1] for n in ON_RAY if n > 1}
    tasks, before = _tasks(MILLION), _memory("VmRSS")
    start = time.perf_counter()
    receipts = do_on_ray(tasks, 1, Steps(read=_read, start=_idler), Profile(actors=2))
    next(receipts)
    found["ray_1m_first_receipt_s"] = time.perf_counter() - start
    found["ray_1m_mib"] = _memory("VmRSS") - before
    start, some = time.perf_counter(), 0
    for _ in receipts:
        some += 1
        if time.perf_counter() - start > 30:
            break
    ray.shutdown()
    return found | {"ray_1m_receipts_per_s": some / (time.perf_counter() - start)}


def _rate(tasks: list[Task], steps: Steps, actors: int) -> float:
    """Tasks per second once every actor has done its first."""
    first = last = 0.0
    for number, _ in enumerate(do_on_ray(tasks, 1, steps, Profile(actors=actors)), start=1):
        last = time.perf_counter()
        first = last if number == actors else first
    return (len(tasks) - actors) / (last - first)


def _tasks(number: int) -> list[Task]:
    shards = (_shard_of(n) for n in range(number))
    return [
        Task(task_id=f"{n:016x}", shard=shard, start=0, stop=shard.rows) for n, shard in enumerate(shards)
    ]


def _shard_of(number: int) -> Shard:
    return shard_of(
        _indexed(Entry(name=f"healpix/main/bright/coadd-main-bright-{number}.fits", size=1, stamp=""))
    )


def _read(task: Task) -> Batch:
    return Batch(task=task, spectra=pa.table({"targetid": pa.array([1], pa.int64())}))


@dataclass(frozen=True)
class Waiter:
    """Labels nothing, and takes its time."""

    seconds: float

    def label(self, batch: Batch, _read_seconds: float) -> Receipt:
        """A receipt, later."""
        time.sleep(self.seconds)
        return _receipt(batch.task)


def _waiter(node: str) -> Waiter:
    return Waiter(RAY_WAIT_S)


def _idler(node: str) -> Waiter:
    return Waiter(0.0)


def _memory(what: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at most so far."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if what in line)
    return int(line.split()[1]) / 1024
