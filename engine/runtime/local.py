"""A plan in this process, one task after the other."""

import time
from collections.abc import Iterator

import torch

from engine.plan import Plan
from engine.runtime.worker import read_batch, start_worker
from engine.spec import Profile
from engine.types import Receipt, Sink


def execute_local(plan: Plan, sink: Sink, profile: Profile) -> Iterator[Receipt]:
    """Receipts of the plan's tasks, in their order."""
    device = torch.device("cuda" if profile.gpus > 0 else "cpu")
    worker = start_worker(plan.spec, sink, device)
    for task in plan.tasks:
        start = time.perf_counter()
        batch = read_batch(plan.spec, task)
        yield worker.label(batch, time.perf_counter() - start)
