"""What is wrong with a file of Ray's cluster launcher: by Ray's own validator, and by what it leaves out."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster.deployments.findings import secrets


def findings(text: str) -> list[str]:
    """What is wrong, a line each."""
    config = yaml.safe_load(text)
    try:
        validate_config(prepare_config(yaml.safe_load(text)))
    except (jsonschema.ValidationError, ValueError, KeyError) as error:
        return [f"Ray's validator: {str(error).splitlines()[0]}"]
    return [*secrets(text), *_guarded(config), *_machines(config)]


def _guarded(config: dict[str, Any]) -> Iterator[str]:
    """The token, the dashboard, the image."""
    docker = config.get("docker", {})
    if "--env RAY_AUTH_MODE=token" not in docker.get("run_options", []):
        yield "RAY_AUTH_MODE is not token in the containers"
    if config.get("file_mounts", {}).get("/home/ray/.ray/auth_token") != "~/.ray/auth_token":
        yield "the token of ~/.ray does not get to the nodes"
    if not re.search(r":\d+\.\d+\.\d+$", docker.get("image", "")):
        yield f"image {docker.get('image')} is not pinned"
    head = " ".join(config.get("head_start_ray_commands", []))
    if "--dashboard-host=127.0.0.1" not in head.split():
        yield "the dashboard is not on loopback"
    # The launcher takes its own file for a cluster that may grow.
    if "--autoscaling-config=~/ray_bootstrap_config.yaml" not in head.split():
        yield "the head does not know what it may start"
    if not any(
        line.startswith("ray start --address=$RAY_HEAD_IP:") for line in config["worker_start_ray_commands"]
    ):
        yield "workers do not join the head"


def _machines(config: dict[str, Any]) -> Iterator[str]:
    if unknown := {*config["provider"]} - {"type", "region", "cache_stopped_nodes"}:
        yield f"provider: {', '.join(sorted(unknown))} is not known here"
    kinds = config["available_node_types"]
    head = config["head_node_type"]
    if kinds[head].get("resources", {}).get("CPU") != 0:
        yield "the head computes: its CPU is not 0"
    for name, kind in kinds.items():
        market = kind["node_config"].get("InstanceMarketOptions", {})
        if not 0 <= kind.get("min_workers", 0) <= kind.get("max_workers", 0) and name != head:
            yield f"{name}: min_workers {kind['min_workers']} of at most {kind.get('max_workers', 0)}"
        if "InstanceType" not in kind["node_config"]:
            yield f"{name}: no InstanceType"
        if unknown := {*kind["node_config"]} - {
            "InstanceType",
            "InstanceMarketOptions",
            "IamInstanceProfile",
        }:
            yield f"{name}: {', '.join(unknown)} is not known here"
        if not kind["node_config"].get("IamInstanceProfile"):
            yield f"{name}: no role (IamInstanceProfile), so no bucket but public ones"
        if name != head and market.get("MarketType") != "spot":
            yield f"{name}: no spot machine, and workers are made to be lost"
    if sum(kind.get("max_workers", 0) for kind in kinds.values()) > config.get("max_workers", 0):
        yield "max_workers is fewer than its kinds may have together"
