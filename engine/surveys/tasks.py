"""Shards -> tasks of bounded size."""

import hashlib
from itertools import pairwise

from engine.types import Shard, Task


def cut(shard: Shard, rows: int) -> list[Task]:
    """A shard as tasks of at most `rows` rows, as equal as can be; one task for an empty or broken shard."""
    parts = max(1, -(-shard.rows // rows))
    edges = [shard.rows * part // parts for part in range(parts + 1)]
    return [
        Task(task_id=_task_id(shard, start, stop), shard=shard, start=start, stop=stop)
        for start, stop in pairwise(edges)
    ]


def _task_id(shard: Shard, start: int, stop: int) -> str:
    return hashlib.sha256(f"{shard.shard_id}:{start}:{stop}".encode()).hexdigest()[:16]
