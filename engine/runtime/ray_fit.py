"""Does a profile fit the cluster? What does not is told before anything starts; Ray would wait in silence."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ray
from ray.autoscaler.sdk import request_resources

from engine.errors import PlanError
from engine.spec import Profile

# What a worker takes that has loaded this program, torch and Ray, and labels with a small network: 308 MiB to
# itself (2026-12-01, smaps of the workers of a drill), so this is the least there is.
WORKER_BYTES = 300 * 2**20
# Blocks in a node's object store for each actor that readers feed: one comes in, two wait, one is labelled.
STORE_BLOCKS = 4
POLL_S = 5.0

Node = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Bytes that work takes beside CPUs and GPUs.

    `block` is the largest block that an actor holds, `through_store` whether blocks pass through the object
    store; `shared` is what lies in the object store of every node, once.
    """

    block: int = 0
    through_store: bool = False
    shared: int = 0


NOTHING = Need()


def pool_size(profile: Profile, need: Need = NOTHING) -> int:
    """Actors to start: as the profile says, else as many as fit.

    PlanError when the cluster cannot hold them. Where the profile has patience, nodes are asked of the
    cluster's autoscaler and waited for.
    """
    try:
        return _size(_nodes(), profile, need)
    except PlanError:
        if profile.patience_minutes == 0:
            raise
    bundle = {"CPU": profile.cpus} | ({"GPU": profile.gpus} if profile.gpus else {})
    request_resources(bundles=[bundle] * (profile.actors or 1))
    try:
        return _size_in_time(profile, need)
    finally:
        # What is asked for once stays asked for: machines would be kept, and paid, after the run.
        request_resources(bundles=[])


def _size_in_time(profile: Profile, need: Need) -> int:
    until = time.monotonic() + 60 * profile.patience_minutes
    while True:
        time.sleep(POLL_S)
        try:
            return _size(_nodes(), profile, need)
        except PlanError:
            if time.monotonic() > until:
                raise


def _nodes() -> list[Node]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _size(nodes: Sequence[Node], profile: Profile, need: Need) -> int:
    cpus, gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
    have = f"a cluster with {cpus:g} CPUs and {gpus:g} GPUs"
    if profile.gpus > 0 and gpus == 0:
        raise PlanError(
            f"gpus = {profile.gpus:g}, but {have} has no GPU; run without `gpus` in the profile, or elsewhere"
        )
    _check_stores(nodes, profile, need)
    by_share = [_by_share(node, profile) for node in nodes]
    fit = _beside_readers(nodes, by_share, profile)
    each = f"of {profile.cpus:g} CPUs and {profile.gpus:g} GPUs"
    if fit < 1:
        beside = " beside its reader" if profile.gpus > 0 else ""
        raise PlanError(
            f"not one actor {each} fits{beside} on a node of {have}; lower `cpus` or `gpus` in the profile"
        )
    lean = [min(actors, _by_bytes(node, need)) for node, actors in zip(nodes, by_share, strict=True)]
    roomy = min(fit, sum(lean))
    if profile.actors is not None and profile.actors > fit:
        raise PlanError(
            f"{profile.actors} actors {each} do not fit {have}; "
            f"lower `actors` in the profile to at most {fit}"
        )
    if roomy < (profile.actors or 1):
        raise PlanError(_too_little_memory(nodes, profile, need, roomy))
    return profile.actors or roomy


def _by_share(node: Node, profile: Profile) -> int:
    """Actors that a node's CPUs and GPUs can hold."""
    by_cpu = int(node.get("CPU", 0) / profile.cpus)
    return by_cpu if profile.gpus == 0 else min(by_cpu, int(node.get("GPU", 0) / profile.gpus))


def _beside_readers(nodes: Sequence[Node], by_share: Sequence[int], profile: Profile) -> int:
    """Actors of all nodes; with GPUs one place of their CPUs is left to readers."""
    places = sum(int(node.get("CPU", 0) / profile.cpus) for node in nodes)
    return sum(by_share) if profile.gpus == 0 else min(places - 1, sum(by_share))


def _by_bytes(node: Node, need: Need) -> int:
    """Actors that a node's memory and object store can hold."""
    found = [int(node["memory"] / (WORKER_BYTES + need.block))] if "memory" in node else []
    if need.through_store and need.block:
        found.append(int(_store(node) / (STORE_BLOCKS * need.block)))
    return min(found, default=2**31)


def _check_stores(nodes: Sequence[Node], profile: Profile, need: Need) -> None:
    """PlanError where nodes that work have smaller object stores than is asked for, or is needed."""
    stores = [_store(node) for node in nodes if _by_share(node, profile)]
    least = min(stores, default=float("inf"))
    joined = bool(os.environ.get("RAY_ADDRESS"))
    if joined and profile.object_store is not None and least < profile.object_store:
        raise PlanError(
            f"object_store = {profile.object_store}, but a node of the cluster has {least:.0f} bytes; start "
            "Ray there with --object-store-memory, or lower `object_store` in the profile"
        )
    if least < need.shared:
        raise PlanError(
            f"the training set has {_mib(need.shared)}, but a node's object store {_mib(least)}; it must "
            "fit there: raise `object_store` in the profile, or start the cluster with --object-store-memory"
        )


def _too_little_memory(nodes: Sequence[Node], profile: Profile, need: Need, roomy: int) -> str:
    memory = sum(node.get("memory", 0) for node in nodes)
    store = sum(_store(node) for node in nodes)
    wanted = profile.actors or 1
    through = f" and {_mib(STORE_BLOCKS * need.block)} of object store" if need.through_store else ""
    return (
        f"{wanted} actors need {_mib(WORKER_BYTES + need.block)} of memory{through} each, but the cluster's "
        f"nodes have {_mib(memory)} and {_mib(store)}, enough for {roomy}; lower `actors` in the profile, or "
        "give the nodes more (`object_store`, --object-store-memory, --memory)"
    )


def _store(node: Node) -> float:
    return node.get("object_store_memory", float("inf"))


def _mib(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"
