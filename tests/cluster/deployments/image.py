"""What is asked of the image beyond hadolint: not root, pinned versions, sources that are let in."""

import re
from pathlib import Path

from tests.cluster.deployments.findings import CLUSTER, secrets

ROOT = CLUSTER.parent
IGNORED = CLUSTER / "image" / "Dockerfile.dockerignore"


def findings(text: str) -> list[str]:
    """What is wrong with a Dockerfile that is built from the repository's root."""
    lines = instructions(text)
    return [*_users(lines), *_versions(lines), *_copies(lines), *secrets(text)]


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions with their arguments; comments are gone and long lines joined."""
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n", " ", plain)
    parts = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(part[0].upper(), part[1] if len(part) > 1 else "") for part in parts]


def _users(lines: list[tuple[str, str]]) -> list[str]:
    last = max(number for number, (name, _) in enumerate(lines) if name == "FROM")
    users = [user for name, user in lines[last:] if name == "USER"]
    # A name could be anyone: Kubernetes' runAsNonRoot takes numbers alone.
    return [] if users and re.fullmatch(r"[1-9]\d*", users[-1]) else ["the last USER is no number above 0"]


def _versions(lines: list[tuple[str, str]]) -> list[str]:
    given = dict(one.split("=", 1) for name, one in lines if name == "ARG" and "=" in one)
    found = []
    for name, what in lines:
        if name == "FROM":
            image = re.sub(r"\$\{(\w+)\}", lambda match: given.get(match[1], ""), what.split()[0])
            if not re.search(r":\d+\.\d+\.\d+", image):
                found.append(f"FROM {image} is not pinned to a version")
        if (
            name == "RUN"
            and "pip install" in what
            and not re.search(r"--constraint constraints\.txt|torch==", what)
        ):
            found.append("pip install without constraints.txt")
    return found


def _copies(lines: list[tuple[str, str]]) -> list[str]:
    patterns = IGNORED.read_text().splitlines()
    allowed = {line.removeprefix("!") for line in patterns if line.startswith("!")}
    found = [] if "*" in patterns else ["the build's context is not closed: Dockerfile.dockerignore lacks *"]
    for name, what in lines:
        if name == "ADD":
            found.append("ADD fetches and unpacks; COPY does not")
        if name != "COPY" or "--from=" in what:
            continue
        for source in what.split()[:-1]:
            if not Path(ROOT, source).exists():
                found.append(f"COPY {source}: there is no such file")
            if source not in allowed:
                found.append(f"COPY {source}: Dockerfile.dockerignore keeps it out")
    return found
