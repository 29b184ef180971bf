"""A shipped profile on its deployment, which starts with a head that computes nothing."""

import pytest
import ray
import yaml

from engine.errors import PlanError
from engine.runtime import ray_fit
from engine.runtime.ray_fit import pool_size
from engine.spec import Profile
from engine.toml import load
from tests.cluster.deployments.findings import CLUSTER

HEAD = {"CPU": 0.0}


def kuberay() -> list[dict[str, float]]:
    """All nodes that the manifest lets its GPU group have."""
    spec = yaml.safe_load((CLUSTER / "kuberay" / "raycluster.yaml").read_text())["spec"]
    [group] = [one for one in spec["workerGroupSpecs"] if one["groupName"] == "gpu"]
    [pod] = group["template"]["spec"]["containers"]
    limits = pod["resources"]["limits"]
    node = {"CPU": float(limits["cpu"]), "GPU": float(limits["nvidia.com/gpu"])}
    return [HEAD, *[node] * group["maxReplicas"]]


def aws() -> list[dict[str, float]]:
    """All machines without GPUs that the launcher may start."""
    kinds = yaml.safe_load((CLUSTER / "aws" / "cluster.yaml").read_text())["available_node_types"]
    return [HEAD, *[kinds["cpu"]["resources"]] * kinds["cpu"]["max_workers"]]


@pytest.mark.parametrize("name", ["kuberay", "aws"])
def test_a_run_asks_for_its_machines_and_gives_them_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    profile, there, asked = load(CLUSTER / "profiles" / f"{name}.toml", Profile), [HEAD], list[int]()

    def request(bundles: list[dict[str, float]]) -> None:
        asked.append(len(bundles))
        there[:] = {"kuberay": kuberay, "aws": aws}[name]()

    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in there])
    monkeypatch.setattr(ray_fit, "request_resources", request)
    monkeypatch.setattr(ray_fit, "POLL_S", 0.0)
    assert pool_size(profile) == profile.actors
    assert asked == [profile.actors, 0]
    there[:] = [HEAD]
    with pytest.raises(PlanError, match=r"has no GPU|not one actor"):
        pool_size(profile.model_copy(update={"patience_minutes": 0.0}))
