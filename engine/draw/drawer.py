"""Who draws for a worker: the processor itself, or a card."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from engine.draw.bank import Bank, bank_of, draw
from engine.draw.card import Card
from engine.draw.network import Network
from engine.spec import Sampling
from engine.types import Draws, Inputs


class Drawer(Protocol):
    """All draws of all networks for a batch."""

    @property
    def away(self) -> torch.device | None:
        """Where it computes, if that is not the host."""
        ...

    def __call__(self, inputs: Inputs, /) -> Draws:
        """The draws; UnexpectedNaN when a usable star gets an output that is not finite."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """Draws on the processor."""

    banks: Sequence[Bank]
    away: None = None

    def __call__(self, inputs: Inputs) -> Draws:
        """The draws."""
        return draw(self.banks, inputs)


def drawer_of(
    networks: Sequence[Network],
    sampling: Sampling,
    device: torch.device,
    *,
    rows: int,
    inputs: int,
    graphs: bool = False,
) -> Drawer:
    """Who draws on a device. `rows` is the largest batch, `inputs` what a star has; a card's are fixed."""
    banks = tuple(bank_of(network, sampling, device) for network in networks)
    if device.type == "cpu":
        return Host(banks)
    return Card(banks, rows=rows, inputs=inputs, graphs=graphs)
