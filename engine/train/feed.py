"""The batches of a training, in an order that the seed decides: from memory here, elsewhere from a stream."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.train.tensors import Tensors
from engine.train.together import Together, share


def seed_of(seed: int, member: int, epoch: int, what: str) -> int:
    """The seed of an epoch's order, augmentation or dropout: nothing else decides its random numbers."""
    key = f"{seed}/{member}/{epoch}/{what}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which of N stars make each batch of an epoch."""

    stars: int
    batch: int
    seed: int
    member: int = 0

    def batches(self, epoch: int) -> tuple[Tensor, ...]:
        """The rows of each batch; every star is in one of them."""
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.member, epoch, "order"))
        return torch.randperm(self.stars, generator=generator).split(self.batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One worker's stars of a batch: `number`, from 1, `of` those of its epoch, with `size` stars in all.

    `part` is which part of the batch they are: 0 where it has none for this worker.
    """

    stars: Tensors
    part: float
    size: int
    number: int
    of: int


class Feed(Protocol):
    """Where training stars come from."""

    def epoch(self, number: int, together: Together) -> Iterator[Share]:
        """This worker's share of each batch."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """All stars, in this process, on the network's device."""

    stars: Tensors
    order: Order

    def epoch(self, number: int, together: Together) -> Iterator[Share]:
        """This worker's share of each batch."""
        batches = self.order.batches(number)
        for count, batch in enumerate(batches, start=1):
            rows, part = share(batch, together)
            stars = self.stars.take(rows.to(self.stars.x_NI.device))
            yield Share(stars=stars, part=part, size=len(batch), number=count, of=len(batches))
