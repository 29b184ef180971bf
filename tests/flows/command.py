"""The command line called in this process: what comes back, and what runs it without Ray."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.__main__ import main

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


def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Abundant:
    """The command in this process, 200 columns wide."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: object) -> Outcome:
        monkeypatch.setattr("sys.argv", ["abundant", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return call
