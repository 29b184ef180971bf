"""What can be drawn from: the contract that every network keeps.

Inside a draw stars are columns, (units, N), so that keeping some units copies whole rows of memory.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from engine.draw.masks import Masks


class Output(NamedTuple):
    """L outputs for N stars in scaled label units, and log-variances where the network predicts them."""

    value_NL: Tensor
    log_variance_NL: Tensor | None = None


class Outputs(NamedTuple):
    """The same of K draws."""

    value_KNL: Tensor
    log_variance_KNL: Tensor | None = None


Columns: TypeAlias = tuple[Tensor, ...]
Thinned: TypeAlias = Callable[[Columns], Output]
Drawn: TypeAlias = Callable[[Columns], Outputs]


class Network(nn.Module, ABC):
    """A network that can be drawn from.

    Calling it gives its Output, with random dropout in training mode and without any in evaluation mode.
    """

    @abstractmethod
    def once(self, x_NI: Tensor) -> Columns:
        """The part before the first dropout, computed once per star."""

    @abstractmethod
    def thinned(self, masks: Masks) -> Thinned:
        """One draw: what follows, with the dropped units taken out; ValueError if that cannot be done."""

    def grouped(self, masks_K: Sequence[Masks]) -> Drawn:
        """All draws in few launches, as a card likes them; one after the other unless a network knows how."""
        return one_by_one([self.thinned(masks) for masks in masks_K])

    @abstractmethod
    def hidden(self, x_NI: Tensor) -> Tensor:
        """The last hidden layer without dropout, shape (N, H)."""

    def constrain(self) -> None:
        """Bring weights back, after each step of a training, to where its authors keep them: anywhere."""


def one_by_one(draws_K: Sequence[Thinned]) -> Drawn:
    """Draws that are computed one after the other."""

    def draw(columns: Columns) -> Outputs:
        outputs = [thinned(columns) for thinned in draws_K]
        variances = [output.log_variance_NL for output in outputs if output.log_variance_NL is not None]
        value_KNL = torch.stack([output.value_NL for output in outputs])
        return Outputs(value_KNL, torch.stack(variances) if variances else None)

    return draw
