"""Who does the steps of a commit, and who hears of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import pyarrow as pa

A = TypeVar("A")
B = TypeVar("B")


class Mapper(Protocol):
    """Applies a picklable function to every item, anywhere, and gives the results in any order."""

    def __call__(self, function: Callable[[A], B], items: Sequence[A], /) -> Iterable[B]: ...


OnStep = Callable[[str, int, int], None]


def silent(_step: str, _done: int, _of: int) -> None:
    """Progress that nobody wants to hear of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Where steps are done, and who is told of each."""

    mapper: Mapper
    on_step: OnStep

    def each(self, step: str, function: Callable[[A], B], items: Sequence[A]) -> Iterator[B]:
        """The results in any order; every one is told to `on_step`."""
        return self.told(step, self.mapper(partial(_released, function), items), len(items))

    def told(self, step: str, results: Iterable[B], of: int) -> Iterator[B]:
        """Results as they come; every one is told to `on_step`."""
        self.on_step(step, 0, of)
        for done, result in enumerate(results, start=1):
            self.on_step(step, done, of)
            yield result


def _released(function: Callable[[A], B], item: A) -> B:
    """A result; then the memory that Arrow would keep for later goes back to the system."""
    try:
        return function(item)
    finally:
        pa.default_memory_pool().release_unused()
