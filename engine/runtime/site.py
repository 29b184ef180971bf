"""On what a plan runs: how many workers, on how many nodes, of which kind."""

import os
import platform
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import ray
import torch

from engine.errors import PlanError
from engine.plan import Plan
from engine.runtime.ray_data import connect, pool_size
from engine.spec import Profile

# What Ray prefixes the kind of a node's GPUs with, among its resources.
CARD = "accelerator_type:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Workers that label at the same time, and what they have.

    `kind` is what arithmetic depends on: the driver's processor, the GPUs that are used, and for what.
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
        kind=kind({torch.cuda.get_device_name()} if used else (), profile),
    )


def on_ray(plan: Plan, profile: Profile) -> Site:
    """The cluster, which is joined or started; PlanError as when a plan runs there.

    So too where its GPUs are of several kinds, unless the profile may mix them.
    """
    connect(profile)
    # First, as it waits for nodes that are yet to come.
    workers = min(pool_size(profile), len(plan.tasks))
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cards = _cards(nodes) if profile.gpus > 0 else set[str]()
    _of_one_kind(cards, profile)
    return Site(
        workers=workers,
        nodes=len(nodes),
        cpus=sum(node.get("CPU", 0.0) for node in nodes),
        gpus=sum(node.get("GPU", 0.0) for node in nodes),
        kind=kind(cards, profile),
    )


def kind(cards: Collection[str], profile: Profile) -> str:
    """The kind of this machine with GPUs of these names, and whether they prepare spectra too."""
    prepares = "which prepares" if cards and profile.prepare == "actor" else ""
    return ", ".join(name for name in (platform.machine(), _processor(), *sorted(cards), prepares) if name)


def _of_one_kind(cards: Collection[str], profile: Profile) -> None:
    if len(cards) > 1 and not profile.mix_machines:
        raise PlanError(
            f"the cluster has GPUs of several kinds ({', '.join(sorted(cards))}), which differ in the last "
            "digits of labels: run where there is one kind, or set mix_machines = true in the profile"
        )


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
