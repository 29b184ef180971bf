"""Many tasks as few read tasks, and what one of these does.

Ray Data holds every read task of a pipeline in its driver until the end, and takes 2 ms to be handed one:
50 s for 20,000 of them. So of a larger run each read task stands for a range of tasks. An actor gives at most
ten receipts of a range per second, since Ray Data looks ten times a second; a task takes longer than that.
"""

import pickle
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray

from engine.errors import AbundantError, RunError
from engine.runtime.blocks import pack, pack_outcome
from engine.runtime.deaths import Deaths
from engine.types import Batch, Task

# Read tasks of a pipeline. Up to here each is one task; a range is done again as a whole if its worker dies.
MOST = 20_000


def ranges(tasks: Sequence[Task]) -> list[Sequence[Task]]:
    """The tasks in their order, as at most MOST ranges of equal length (the last may be shorter)."""
    length = max(1, -(-len(tasks) // MOST))
    return [tasks[start : start + length] for start in range(0, len(tasks), length)]


def fold(tasks: Sequence[Task]) -> bytes:
    """Tasks as bytes that only `unfold` reads: smaller than their pickle, since tasks are alike."""
    return zlib.compress(pickle.dumps(list(tasks)), level=1)


def unfold(folded: bytes) -> list[Task]:
    """The tasks again."""
    return pickle.loads(zlib.decompress(folded))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """What a read task does with each of its tasks; `fused` where the actor that labels must do it."""

    read: Callable[[Task], Batch]
    fused: bool
    deaths: Deaths

    def block(self, task: Task) -> pa.Table:
        """A task's spectra as one row, or the error that should end the run."""
        started = time.perf_counter()
        try:
            if self.fused:
                _check_fused()
            with self.deaths.over(task.task_id, "read", ray.get_runtime_context().get_node_id()):
                return pack(self.read(task), started)
        except AbundantError as error:
            return pack_outcome(error)

    def blocks(self, tasks: Sequence[Task]) -> Iterator[pa.Table]:
        """One block per task, each read when it is asked for."""
        return map(self.block, tasks)


def _check_fused() -> None:
    """RunError, before the first spectrum is read, where a read is not done by the actor that labels it."""
    if ray.get_runtime_context().get_actor_id() is None:
        raise RunError(
            "Ray Data did not fuse read and actor, so spectra would pass through the object store; run with "
            'runtime = "local", or with the version of Ray that this program was installed with'
        )
