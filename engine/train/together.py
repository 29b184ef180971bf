"""One training on several machines: how batches are shared and gradients joined."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor
from torch.nn import Module


class Together(Protocol):
    """The workers of one training, of which this is the one of `rank`, from 0.

    `join` makes each gradient, and the loss, the sum over workers; `agree` makes values those of rank 0.
    """

    @property
    def rank(self) -> int: ...

    @property
    def workers(self) -> int: ...

    def join(self, network: Module, loss: Tensor) -> Tensor: ...

    def agree(self, values: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """One worker."""

    rank: int = 0
    workers: int = 1

    def join(self, network: Module, loss: Tensor) -> Tensor:  # noqa: ARG002
        """The gradients are complete."""
        return loss

    def agree(self, values: Tensor) -> Tensor:
        """There is nobody else."""
        return values


ALONE = Alone()


def share(rows: Tensor, together: Together) -> tuple[Tensor, float]:
    """This worker's rows of a batch, and which part of it they are: 0 where there is no row for it.

    Sums over workers, weighted so, are means over the batch where each star counts alike.
    """
    mine = rows[together.rank :: together.workers]
    return (mine, len(mine) / len(rows)) if len(mine) else (rows[:1], 0.0)
