"""The file for AWS passes Ray's own validator and our checks, which find what is planted."""

import pytest

from tests.cluster.deployments.aws import findings
from tests.cluster.deployments.findings import CLUSTER, planted

TEXT = (CLUSTER / "aws" / "cluster.yaml").read_text()


def test_the_cluster_is_sound() -> None:
    assert findings(TEXT) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("idle_timeout_minutes", "idle_timeout_minute", "Ray's validator"),
        ("max_workers: 16", "max_worker: 16", "Ray's validator"),
        ("max_workers: 24", "max_workers: many", "Ray's validator"),
        ("head_node_type: head", "head_node_type: heads", "Ray's validator"),
        ("min_workers: 0", "min_workers: 17", "min_workers 17"),
        ("region: us-west-2", "regoin: us-west-2", "provider: regoin"),
        ("RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled", "RAY_AUTH_MODE is not token"),
        ("  /home/ray/.ray/auth_token: ~/.ray/auth_token\n", "  /home/ray/x: ~/x\n", "token of ~/.ray"),
        ("--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "not on loopback"),
        (" --dashboard-host=127.0.0.1", "", "not on loopback"),
        ("--autoscaling-config=~/ray_bootstrap_config.yaml", "", "what it may start"),
        ("$RAY_HEAD_IP:6379", "$RAY_HEAD:6379", "do not join"),
        ("abundant:0.1.0", "abundant:latest", "is not pinned"),
        ("resources: {CPU: 0}", "resources: {CPU: 8}", "the head computes"),
        ("MarketType: spot", "MarketType: on-demand", "no spot machine"),
        ("InstanceType: c7i", "InstanceTyp: c7i", "no InstanceType"),
        ("InstanceMarketOptions", "InstanceMarketOption", "is not known here"),
        ("      IamInstanceProfile: {Name: abundant-worker}\n", "", "cpu: no role"),
        ("max_workers: 8", "max_workers: 80", "fewer than its kinds"),
        (
            "  region: us-west-2",
            "  region: us-west-2\n  aws_secret_access_key: wJalrXUtnFEMI",
            "a secret",
        ),
        ("# Where the survey's", "# AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI", "a secret"),
    ],
)
def test_what_is_planted_is_found(old: str, new: str, found: str) -> None:
    assert any(found in line for line in findings(planted(TEXT, old, new)))
