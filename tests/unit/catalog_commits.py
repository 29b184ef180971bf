"""Six tasks to commit, what a commit made of them, and commits that die on the way."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalogs.layout import Layout
from tests.unit.catalog_rows import layout, publish, staged, tasks

TASKS = tasks(6, 150)
NAMES = tuple(TASKS)


def published_bytes(where: Layout) -> dict[str, bytes]:
    """Everything of a catalog that must not depend on how it was made."""
    files = sorted(path for path in where.catalog.rglob("*") if path.is_file())
    relative = {path.relative_to(where.catalog).as_posix(): path.read_bytes() for path in files}
    return {name: data for name, data in relative.items() if name not in ("manifest.json", "hats.properties")}


def multiset(rows: pa.Table) -> Counter[tuple[Any, ...]]:
    """The rows, how often each."""
    return Counter(tuple(row.values()) for row in rows.to_pylist())


def undisturbed(root: Path) -> Layout:
    """TASKS, staged and published without a crash."""
    where = layout(root)
    staged(where, TASKS)
    publish(where, NAMES)
    return where


class Crash(Exception):
    """A killed process, as far as files can tell."""


def crashing(step: str, after: int) -> Callable[..., Iterable[Any]]:
    """A map that dies in a step (the n-th map of the commit) after so many items."""
    calls = iter(("histogram", "split", "reduce"))

    def mapper(function: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
        dies = next(calls) == step
        for number, item in enumerate(items):
            if dies and number == after:
                raise Crash
            yield function(item)

    return mapper
