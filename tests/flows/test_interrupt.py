"""Ctrl-C: one line, exit code 130, and the same command goes on."""

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from engine.plan import make_plan
from engine.spec import RunSpec
from engine.toml import load
from jobs.run import layout_of
from tests.flows.command import Abundant, local

# Where the tests themselves run in the background, SIGINT is ignored, and their children inherit that.
LISTEN = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_ends_in_one_line_and_the_same_command_goes_on(spec_file: Path, abundant: Abundant) -> None:
    words = ["run", str(spec_file), *map(str, local(spec_file, "run"))]
    receipts = layout_of(make_plan(load(spec_file, RunSpec))).receipts
    with subprocess.Popen(
        [sys.executable, "-m", "jobs", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=LISTEN,
    ) as process:
        deadline = time.monotonic() + 120
        while not list(receipts.glob("*.json")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130, said
    assert "Interrupted: what is done is kept; the same command goes on from here" in said
    assert "Traceback" not in said
    resumed = abundant(*words)
    assert (resumed.code, "tasks are already done" in resumed.err) == (0, True)


@pytest.mark.parametrize("command", ["run", "commit", "train"])
def test_ctrl_c_at_any_time_is_one_line(
    abundant: Abundant, spec_file: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    module = "training" if command == "train" else "runs"
    monkeypatch.setattr(f"jobs.cli.{module}.load", interrupt)
    ended = abundant(command, spec_file)
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.startswith("Interrupted: ") and ended.err.count("\n") == 1


# A process that sends itself Ctrl-C when it comes to import a module.
TRAP = """
import os, signal, sys
class Trap:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
module = sys.argv.pop(1)
sys.meta_path.insert(0, Trap())
from jobs.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["jobs.cli", "typer", "pyarrow.lib", "torch._guards", "engine.plan"])
def test_ctrl_c_while_modules_are_imported_is_one_line(spec_file: Path, module: str) -> None:
    words = [sys.executable, "-c", TRAP, module, "plan", str(spec_file)]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=LISTEN)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted\n")
