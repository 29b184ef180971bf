"""A plan in this process, one task after the other."""

import time
from collections.abc import Iterator

import torch

from engine.errors import PlanError
from engine.plan import Plan
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


def device_of(profile: Profile) -> torch.device:
    if profile.gpus == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise PlanError(
            f"gpus = {profile.gpus:g}, but torch sees no CUDA device here; run without `gpus` in the profile "
            "or check the driver, CUDA_VISIBLE_DEVICES, and that torch was installed with CUDA"
        )
    return torch.device("cuda")
