"""The command line called in this process: what comes back, and what runs it without Ray."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

LOCAL = 'runtime = "local"\n'


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Abundant = Callable[..., Outcome]


def local(spec_file: Path, command: str) -> list[object]:
    return ["--profile", spec_file.with_name("local.toml")] if command == "run" else []
