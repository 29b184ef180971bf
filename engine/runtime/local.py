"""A plan in this process, one task after the other."""

import time
from collections.abc import Iterator

from engine.plan import Plan
from engine.runtime.device import device_of
from engine.runtime.worker import read_batch, start_worker, work_of
from engine.spec import Profile
from engine.types import Receipt, Sink


def execute_local(plan: Plan, sink: Sink, profile: Profile) -> Iterator[Receipt]:
    """Receipts of the plan's tasks, in their order; PlanError where the profile asks for a GPU in vain."""
    work = work_of(plan, profile)
    worker = start_worker(work, sink, device_of(profile))
    for task in plan.tasks:
        start = time.perf_counter()
        batch = read_batch(work, task)
        yield worker.label(batch, time.perf_counter() - start)
