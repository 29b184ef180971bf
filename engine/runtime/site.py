"""On what a plan runs: how many workers, on how many nodes, of which kind."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import ray
import torch

from engine.plan import Plan
from engine.runtime.ray_data import connect, pool_size
from engine.spec import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Workers that label at the same time, and what they have; `kind` is that of the driver's machine."""

    workers: int
    nodes: int
    cpus: float
    gpus: float
    kind: str


def here(_plan: Plan, profile: Profile) -> Site:
    """This process."""
    return Site(
        workers=1, nodes=1, cpus=float(os.cpu_count() or 1), gpus=float(profile.gpus > 0), kind=kind(profile)
    )


def on_ray(plan: Plan, profile: Profile) -> Site:
    """The cluster, which is joined or started; PlanError as when a plan runs there."""
    connect(profile)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return Site(
        workers=min(pool_size(profile), len(plan.tasks)),
        nodes=len(nodes),
        cpus=sum(node.get("CPU", 0.0) for node in nodes),
        gpus=sum(node.get("GPU", 0.0) for node in nodes),
        kind=kind(profile),
    )


def kind(profile: Profile) -> str:
    """The kind of this machine, as far as arithmetic depends on it: its processor, and a GPU that is used."""
    names = [platform.machine(), _processor()]
    if profile.gpus > 0 and torch.cuda.is_available():
        names.append(torch.cuda.get_device_name())
    return ", ".join(name for name in names if name)


def _processor() -> str:
    """What Linux calls the processor; "" elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
