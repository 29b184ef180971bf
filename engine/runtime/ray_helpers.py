"""Ray Data's helper actors, when the node on which they stood is lost.

They are detached, found by name, and pinned to the node of the driver that needed them first (Ray 2.60:
`get_or_create_actor_location_tracker`, `get_or_create_autoscaling_coordinator`, `get_or_create_stats_actor`).
Where that node is gone, every later driver of the cluster gets the handle of an actor that can be placed
nowhere, and fails.
"""

import time

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorDiedError, ActorUnschedulableError, GetTimeoutError

# By name and namespace.
HELPERS = (
    ("ActorLocationTracker", "ActorLocationTracker"),
    ("AutoscalingCoordinator", "AutoscalingCoordinator"),
    ("datasets_stats_actor", "_dataset_stats_actor"),
)
ANSWER_S, GONE_S = 10.0, 30.0


def bury_helpers() -> None:
    """Take away helpers that can live nowhere, so that Ray Data makes new ones; others are left alone."""
    for name, namespace in HELPERS:
        helper = _find(name, namespace)
        if helper is not None and _is_lost(helper):
            ray.kill(helper)
            _wait_until_gone(name, namespace)


def _find(name: str, namespace: str) -> ActorHandle | None:
    try:
        return ray.get_actor(name, namespace=namespace)
    except ValueError:
        return None


def _is_lost(helper: ActorHandle) -> bool:
    """Does it say that it can be placed nowhere? One that says nothing may be busy."""
    try:
        ray.get(helper.__ray_ready__.remote(), timeout=ANSWER_S)
    except (ActorDiedError, ActorUnschedulableError):
        return True
    except GetTimeoutError:
        return False
    return False


def _wait_until_gone(name: str, namespace: str) -> None:
    """Until its name is free again, for a while."""
    until = time.monotonic() + GONE_S
    while _find(name, namespace) is not None and time.monotonic() < until:
        time.sleep(0.1)
