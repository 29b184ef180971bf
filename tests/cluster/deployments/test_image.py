"""The image's Dockerfile passes hadolint and our own checks, which find what is planted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.deployments.findings import CLUSTER, planted
from tests.cluster.deployments.image import IGNORED, ROOT, findings

DOCKERFILE = CLUSTER / "image" / "Dockerfile"
TEXT = DOCKERFILE.read_text()


def hadolint(text: str) -> list[str]:
    """The codes of what hadolint finds."""
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [program, "--format", "json", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    return [found["code"] for found in json.loads(done.stdout)]


def test_the_image_is_sound() -> None:
    assert findings(TEXT) == []
    assert hadolint(TEXT) == []


def test_all_that_the_program_is_gets_into_the_image() -> None:
    """A new top-level package, or a file that the installation reads, must be copied too."""
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages == {line[1:] for line in IGNORED.read_text().splitlines() if line.startswith("!")} - {
        "constraints.txt",
        "pyproject.toml",
    }


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("USER 1000\n", "", "the last USER"),
        ("USER 1000", "USER root", "the last USER"),
        ("USER 1000", "USER 0", "the last USER"),
        ("PYTHON=3.11.7-slim-bookworm", "PYTHON=latest", "not pinned"),
        ("--constraint constraints.txt ", "", "without constraints"),
        ("COPY catalogs catalogs", "COPY catalog catalogs", "no such file"),
        ("COPY jobs jobs", "COPY jobs jobs\nCOPY shared shared", "keeps it out"),
        ("COPY engine engine", "ADD https://example.org/engine.tar engine", "ADD fetches"),
        ("PYTHONUNBUFFERED=1", "PYTHONUNBUFFERED=1 AWS_SECRET_ACCESS_KEY=wJalrXUtn", "a secret"),
    ],
)
def test_what_is_planted_in_the_dockerfile_is_found(old: str, new: str, found: str) -> None:
    assert any(found in line for line in findings(planted(TEXT, old, new)))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("USER 1000", "USER root", "DL3002"),
        ("FROM python:${PYTHON}\n", "FROM python\n", "DL3006"),
        ("WORKDIR /source", "WORKDIR source", "DL3000"),
        ("RUN apt-get", "RUN cd /home && apt-get", "DL3003"),
        (" --no-install-recommends", "", "DL3015"),
        ("USER 1000", "RUN sudo useradd x\nUSER 1000", "DL3004"),
        ('CMD ["abundant", "--help"]', "CMD abundant --help", "DL3025"),
        ("USER 1000", "USR 1000", "DL1000"),
    ],
)
def test_hadolint_finds_what_is_planted(old: str, new: str, code: str) -> None:
    assert code in hadolint(planted(TEXT, old, new))
