"""A job in a process of its own, forked from one that has imported everything, which takes seconds."""

import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.drills.death import Death, expect


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a job ended: its exit code (negative: the signal that killed it), operations counted, seconds."""

    code: int
    operations: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A job under way: its process, since when, and where it says how many operations it has counted."""

    pid: int
    started: float
    said: Path

    def ended(self, *, wait: bool) -> End | None:
        """How it ended; None while it lives and nobody waits. Asked once more after that it fails."""
        pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
        if pid == 0:
            return None
        return End(
            code=os.waitstatus_to_exitcode(status),
            operations=int(self.said.read_text()) if self.said.exists() else 0,
            seconds=time.perf_counter() - self.started,
        )


def start_forked(words: list[str], death: Death | None, *, heard: Path, log: Path) -> Child:
    """Start `abundant` with these words in a forked process which may be arranged to die.

    `heard` is the folder whose operations count; what the job prints is appended to `log`.
    """
    started, said = time.perf_counter(), log.with_suffix(".operations")
    said.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        _live(words, death, heard, log, said)
    return Child(pid=pid, started=started, said=said)


def run_forked(words: list[str], death: Death | None, *, heard: Path, log: Path) -> End:
    """As `start_forked`, until the job has ended."""
    end = start_forked(words, death, heard=heard, log=log).ended(wait=True)
    assert end is not None
    return end


def _live(words: list[str], death: Death | None, heard: Path, log: Path, said: Path) -> None:
    """The child's life. It never returns: the parent's stack is not its own."""
    code = 70
    try:
        _redirect(log)
        counted = expect(death, heard)
        code = _command(words)
        said.write_text(str(counted()))
    except BaseException:  # noqa: BLE001 - whatever it was, it must not go up into the parent's frames
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(log: Path) -> None:
    with log.open("ab") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)


def _command(words: list[str]) -> int:
    main: Callable[[], None]
    from jobs.__main__ import main

    sys.argv = ["abundant", *words]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0
