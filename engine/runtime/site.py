"""On what a plan runs: how many workers, on how many nodes, of which kind."""

import os
import platform
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import ray
import torch

from engine.plan import Plan
from engine.runtime.ray_data import connect, pool_size
from engine.spec import Profile

# What Ray prefixes the kind of a node's GPUs with, among its resources.
CARD = "accelerator_type:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Workers that label at the same time, and what they have.

    `kind` is what arithmetic depends on: the driver's processor, and the GPUs that are used.
    """

    workers: int
    nodes: int
    cpus: float
    gpus: float
    kind: str


def here(_plan: Plan, profile: Profile) -> Site:
    """This process."""
    used = profile.gpus > 0 and torch.cuda.is_available()
    return Site(
        workers=1,
        nodes=1,
        cpus=float(os.cpu_count() or 1),
        gpus=float(profile.gpus > 0),
        kind=kind({torch.cuda.get_device_name()} if used else ()),
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
        kind=kind(_cards(nodes) if profile.gpus > 0 else ()),
    )


def kind(cards: Collection[str]) -> str:
    """The kind of this machine with GPUs of these names."""
    return ", ".join(name for name in (platform.machine(), _processor(), *sorted(cards)) if name)


def _cards(nodes: Iterable[Mapping[str, float]]) -> set[str]:
    """What Ray calls the GPUs of its nodes; the driver itself may have none."""
    return {name.removeprefix(CARD) for node in nodes for name in node if name.startswith(CARD)}


def _processor() -> str:
    """What Linux calls the processor; "" elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
