"""No file of a deployment holds a secret, and one that did would be found."""

from pathlib import Path

import pytest

from tests.cluster.deployments.findings import CLUSTER, secrets

FILES = sorted(path for path in CLUSTER.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CLUSTER)))
def test_no_secret_stands_in_a_deployment(path: Path) -> None:
    assert secrets(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "aws_access_key_id: " + "AKIA" + "IOSFODNN7EXAMPLE",
        'AWS_SECRET_ACCESS_KEY="wJalrXUtnFEMI/K7MDENG"',
        "  - {name: RAY_AUTH_TOKEN, value: x}\nRAY_AUTH_TOKEN: 0123",
        "ENV S3_PASSWORD=hunter2",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "export TOKEN=" + "0123456789abcdef" * 4,
        "    --env GITHUB=ghp_" + "a1B2" * 9,
    ],
)
def test_a_planted_secret_is_found(line: str) -> None:
    assert secrets(f"name: x\n{line}\n")
