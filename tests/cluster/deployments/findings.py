"""What all deployments are asked: no secret in a file, and where they lie."""

import re
from collections.abc import Callable
from pathlib import Path

CLUSTER = Path(__file__).parents[3] / "cluster"

# A finding is one line about what is wrong.
Check = Callable[[str], list[str]]

SECRETS = {
    "a key of AWS": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a token of GitHub": r"\bgh[pousr]_[A-Za-z0-9]{30,}",
    "a hash or key in hexadecimal": r"\b[0-9a-f]{40,}\b",
    "a secret by its name": r"(?i)(secret|passw(or)?d|auth[-_]?token|access[-_]?key)[a-z_-]*[\"']?\s*[:=]\s*"
    r"[\"']?(?![$/~\"'\s(|>{])[^\s\"']+",
}
# Paths and choices that only look like values of secrets.
INNOCENT = re.compile(r"RAY_AUTH_TOKEN_PATH|automountServiceAccountToken")


def secrets(text: str) -> list[str]:
    """Lines that hold what should stand nowhere."""
    return [
        f"line {number}: {what}"
        for number, line in enumerate(text.splitlines(), start=1)
        for what, pattern in SECRETS.items()
        if re.search(pattern, line) and not INNOCENT.search(line)
    ]


def planted(text: str, old: str, new: str) -> str:
    """The text with a mistake in it; the place where it goes is there once or more."""
    assert old in text, f"nowhere to plant: {old}"
    return text.replace(old, new, 1)
