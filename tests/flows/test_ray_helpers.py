"""Ray Data's helpers on a node that is gone are taken away; those that live are left alone."""

from typing import Any

import pytest
import ray
from ray import NodeID
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.runtime import ray_helpers
from engine.runtime.ray_helpers import bury_helpers


@ray.remote(num_cpus=0)
class Helper:
    """Of no use."""


@pytest.fixture
def named(ray_session: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """How a helper is made that our own are not confused with."""
    monkeypatch.setattr(ray_helpers, "HELPERS", (("helper", "tests"),))
    return {"name": "helper", "namespace": "tests", "lifetime": "detached"}


@pytest.mark.ray
def test_a_helper_that_lives_is_left_alone(named: dict[str, Any]) -> None:
    helper = Helper.options(**named).remote()
    bury_helpers()
    assert ray.get_actor("helper", namespace="tests") == helper
    ray.kill(helper)
    ray_helpers._wait_until_gone("helper", "tests")
    bury_helpers()


@pytest.mark.ray
def test_a_helper_that_can_be_placed_nowhere_is_taken_away(named: dict[str, Any]) -> None:
    nowhere = NodeAffinitySchedulingStrategy(NodeID.from_random().hex(), soft=False)
    Helper.options(**named, scheduling_strategy=nowhere).remote()
    bury_helpers()
    with pytest.raises(ValueError, match="helper"):
        ray.get_actor("helper", namespace="tests")
