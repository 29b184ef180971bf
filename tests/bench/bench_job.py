"""The whole job on Ray with two actors, against two independent single-thread processes doing the same."""

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median

import torch

from catalogs.layout import Layout
from catalogs.stage import Stage, open_run
from engine.plan import Plan, make_plan
from engine.runtime.ray_data import connect, execute_ray_data
from engine.runtime.worker import read_batch, start_worker, work_of
from engine.spec import Profile, RunSpec, Sampling
from engine.types import Task
from tests.bundles import write_bundle

SAMPLING, ROUNDS, ACTORS = Sampling(draws=100, seed=1), 5, 2
HIDDEN = (1024, 512, 256, 128)


@dataclass(frozen=True)
class Run:
    """Spectra per second once every worker has done its first task, and the seconds before."""

    rate: float
    startup: float


def bench(root: Path, work: Path) -> dict[str, float]:
    """Median rates of interleaved rounds, start-up apart, and the median of the rounds' ratios."""
    bundle = write_bundle(work / "bundle", sampling=SAMPLING, hidden=HIDDEN)
    plain = {
        "survey": {"name": "desi", "root": root, "select": {"by": "all"}},
        "model": {"bundle": bundle},
        "sampling": SAMPLING.model_dump(),
        "tasks": {"rows": 256},
        "catalog": {"name": "bench", "version": "1", "root": work},
    }
    plan = make_plan(RunSpec.model_validate(plain))
    start = time.perf_counter()
    connect(Profile())
    ray_start = time.perf_counter() - start
    ray_runs, process_runs = [], []
    for number in range(ROUNDS):
        ray_runs.append(on_ray(plan, stage_in(work / f"ray{number}", plan)))
        process_runs.append(on_processes(plan, stage_in(work / f"processes{number}", plan)))
    pairs = zip(ray_runs, process_runs, strict=True)
    return {
        "ray_spectra_per_s": median(run.rate for run in ray_runs),
        "processes_spectra_per_s": median(run.rate for run in process_runs),
        "ray_over_processes": median(one.rate / other.rate for one, other in pairs),
        "ray_init_s": ray_start,
        "ray_first_receipts_s": median(run.startup for run in ray_runs),
        "processes_startup_s": median(run.startup for run in process_runs),
    }


def stage_in(root: Path, plan: Plan) -> Stage:
    """A fresh staging folder."""
    layout = Layout(
        root=root, name="bench", version="1", plan_digest=plan.digest, work_digest=plan.work_digest
    )
    open_run(layout, plan.record())
    return Stage(layout)


def on_ray(plan: Plan, stage: Stage, actors: int = ACTORS) -> Run:
    """Execute the plan; the clock of the rate starts when as many receipts as actors are in."""
    start, early = time.perf_counter(), 0
    first = last = start
    rows = 0
    for number, receipt in enumerate(execute_ray_data(plan, stage, Profile(actors=actors)), start=1):
        last = time.perf_counter()
        rows += receipt.rows
        if number == actors:
            first, early = last, rows
    return Run((rows - early) / (last - first), first - start)


def on_processes(plan: Plan, stage: Stage) -> Run:
    """Each process takes every other task; the clock starts when both have done their first."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(ACTORS)
    start, pipes, workers = time.perf_counter(), [], []
    for part in range(ACTORS):
        mine, theirs = context.Pipe()
        arguments = (plan, plan.tasks[part::ACTORS], stage, barrier, theirs)
        workers.append(context.Process(target=one_process, args=arguments))
        workers[-1].start()
        pipes.append(mine)
    spans = [pipe.recv() for pipe in pipes]
    for worker in workers:
        worker.join()
    first, last = min(span[0] for span in spans), max(span[1] for span in spans)
    return Run(sum(span[2] for span in spans) / (last - first), first - start)


def one_process(plan: Plan, tasks: Sequence[Task], stage: Stage, barrier: Barrier, pipe: Connection) -> None:
    """The local loop over some tasks; sends when it began, when it ended, and its rows."""
    work = work_of(plan, Profile(runtime="local"))
    worker = start_worker(work, stage, torch.device("cpu"))
    worker.label(read_batch(work, tasks[0]), 0.0)
    barrier.wait()
    begin, rows = time.perf_counter(), 0
    for task in tasks[1:]:
        rows += worker.label(read_batch(work, task), 0.0).rows
    pipe.send((begin, time.perf_counter(), rows))
