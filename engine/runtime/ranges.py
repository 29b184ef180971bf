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
from typing import Any

import pyarrow as pa
import ray
from ray._private.worker import global_worker

from engine.errors import AbundantError, RunError
from engine.runtime.blocks import pack, pack_outcome
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
    """What a read task does with each of its tasks; `fused` where the actor that labels must do it.

    `retries` says how often it is done again after whoever did it died; -1: always.
    """

    read: Callable[[Task], Batch]
    fused: bool
    retries: int

    def block(self, task: Task) -> pa.Table:
        """A task's spectra as one row, or the error that should end the run."""
        started = time.perf_counter()
        try:
            if self.fused:
                _check_fused()
            check_attempts(self.retries)
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


def check_attempts(retries: int) -> None:
    """RunError where this is tried once more than `retries` times, since whoever tried it died.

    Ray Data has no bound of its own: spectra for which memory runs out would kill one worker after another.
    """
    # Ray's public runtime context does not have it.
    core: Any = getattr(global_worker, "core_worker")  # noqa: B009
    died: int = core.get_current_task_attempt_number()
    if 0 <= retries < died:
        raise RunError(
            f"workers died {died} times over the same spectra; what is done is kept, and the same command "
            "goes on. Where memory ran out, give an actor more `cpus` in the profile, so that fewer share a "
            "node; where machines come and go, raise `retries`"
        )
