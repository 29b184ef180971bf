"""How often workers died over one task: what Ray itself does not know apart from nodes that were lost.

Ray tries a task again whenever whoever tried it is gone, and counts a node that was lost, of which every
attempt to reach it is one more, like a worker that memory ran out under. A worker therefore leaves a mark on
the disk of its node while it works, and takes it away at the end; a worker that dies leaves it, and a node
that is lost takes it along.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.errors import RunError


@dataclass(frozen=True, slots=True, kw_only=True)
class Deaths:
    """Deaths of one run of a pipeline, counted on each node; `bound` is how many a task may cost, -1: any."""

    run: str
    bound: int

    @contextmanager
    def over(self, task_id: str, doing: str, node: str) -> Iterator[None]:
        """While a worker does something with a task; RunError where more have died over it than may."""
        mark = Path(tempfile.gettempdir(), f"abundant-{self.run}-{node}-{task_id}-{doing}")
        died = mark.stat().st_size if mark.exists() else 0
        if 0 <= self.bound < died:
            mark.unlink()
            raise RunError(
                f"workers died {died} times over task {task_id}; what is done is kept, and the same command "
                "goes on. Where memory ran out, give an actor more `cpus` in the profile, so that fewer "
                "share a node, or plan smaller tasks; where workers are killed for another reason, raise "
                "`retries`"
            )
        with mark.open("ab", buffering=0) as file:
            file.write(b"\n")
        try:
            yield
        finally:
            mark.unlink()


def new_run() -> str:
    """A name that no other run of a pipeline has."""
    return os.urandom(8).hex()
