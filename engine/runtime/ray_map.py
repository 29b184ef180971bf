"""A function applied to many items as Ray tasks: how a commit uses a cluster."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from engine.errors import RunError
from engine.runtime.ray_data import connect
from engine.spec import Profile

A = TypeVar("A")
B = TypeVar("B")
# Tasks under way for every CPU: none is idle, and a driver of a million items stays small.
AHEAD = 2


def map_on_ray(profile: Profile, function: Callable[[A], B], items: Sequence[A]) -> Iterator[B]:
    """The results in any order; what `function` raises is raised here.

    Who dies is replaced, a few times for each item; RunError after that, and when the cluster is lost.
    """
    if not items:
        return
    connect(profile)
    # What all tasks share travels once.
    shared: Any = ray.put(function)
    apply = ray.remote(num_cpus=1, max_retries=3)(_applier())
    left, running = iter(items), list[Any]()
    most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
    while True:
        while len(running) < most and (item := next(left, left)) is not left:
            running.append(apply.remote(shared, item))
        if not running:
            return
        [done], running = ray.wait(running, num_returns=1)
        yield _result(done)


def _applier() -> Callable[[Any, Any], Any]:
    """A function that travels whole; by a name of its own, or of its types, a worker would import torch."""

    def apply(function: Any, item: Any) -> Any:
        return function(item)

    return apply


def _result(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        raise RunError(
            f"Ray lost its workers: {str(error).splitlines()[0]}; run the same command again: it goes on"
        ) from error
