"""A profile that asks for more than there is is refused before any work."""

from collections.abc import Callable
from typing import Any

import pytest
import ray
import torch

from engine.errors import PlanError, RunError
from engine.plan import make_plan
from engine.runtime import RUNTIMES, ray_data
from engine.spec import Profile, RunSpec
from engine.types import Receipt


class NoSink:
    """Nothing may reach it."""

    def stage(self, *_: Any, **__: Any) -> Receipt:
        raise AssertionError("a task was labelled")


def test_a_gpu_that_is_not_there_is_refused_locally(
    run_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PlanError, match="gpus = 1, but torch sees no CUDA device here; run without"):
        list(RUNTIMES["local"](make_plan(run_spec()), NoSink(), Profile(runtime="local", gpus=1)))


@pytest.mark.ray
@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"gpus": 1}, "gpus = 1, but a cluster with 4 CPUs and 0 GPUs has no GPU; run without"),
        ({"cpus": 64}, "not one actor of 64 CPUs and 0 GPUs fits on a node .* lower `cpus`"),
        ({"actors": 5}, "5 actors of 1 CPUs .* do not fit .* to at most 4"),
        ({"actors": 3, "cpus": 2}, "3 actors of 2 CPUs .* to at most 2"),
    ],
)
def test_a_profile_that_the_cluster_cannot_hold_is_refused(
    ray_session: None, run_spec: Callable[..., RunSpec], profile: dict[str, Any], message: str
) -> None:
    if profile.get("gpus") and ray.cluster_resources().get("GPU"):
        pytest.skip("this machine has a GPU")
    with pytest.raises(PlanError, match=message):
        list(RUNTIMES["ray_data"](make_plan(run_spec()), NoSink(), Profile(**profile)))


@pytest.mark.parametrize(
    ("nodes", "profile", "actors"),
    [
        ([{"CPU": 2.0}, {"CPU": 2.0}], {"cpus": 2}, 2),
        ([{"CPU": 8.0, "GPU": 2.0}], {"gpus": 0.5}, 4),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 16.0}], {"gpus": 1}, 2),
        ([{"CPU": 2.0, "GPU": 4.0}], {"gpus": 1}, 1),
    ],
)
def test_actors_fill_the_nodes_one_by_one(
    monkeypatch: pytest.MonkeyPatch, nodes: list[dict[str, float]], profile: dict[str, Any], actors: int
) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in nodes])
    assert ray_data.pool_size(Profile(**profile)) == actors
    with pytest.raises(PlanError, match=f"to at most {actors}"):
        ray_data.pool_size(Profile(**profile, actors=actors + 1))


def test_a_node_too_small_for_one_actor_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three CPUs on one node, although the cluster has four: Ray would wait for ever."""
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}] * 2 + [{"Alive": False, "Resources": {"CPU": 64.0}}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    with pytest.raises(PlanError, match="not one actor of 3 CPUs"):
        ray_data.pool_size(Profile(cpus=3))


def test_a_cluster_that_cannot_be_joined_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "nowhere:6379")
    with pytest.raises(PlanError, match=r"Could not find(?s:.*)Check RAY_ADDRESS \(now nowhere:6379\)"):
        ray_data.connect(Profile())


@pytest.mark.ray
def test_a_read_that_is_not_fused_is_refused_before_the_first_spectrum(
    ray_session: None, run_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other resources for the read than for the actor keep Ray Data from fusing them."""
    whole = ray.data.read_datasource
    monkeypatch.setattr(
        ray.data, "read_datasource", lambda source, **options: whole(source, **options | {"num_cpus": 0.5})
    )
    with pytest.raises(RunError, match="did not fuse read and actor"):
        list(RUNTIMES["ray_data"](make_plan(run_spec()), NoSink(), Profile(actors=1)))
