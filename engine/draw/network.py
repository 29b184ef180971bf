"""What can be drawn from: the contract that every network keeps.

Inside a draw stars are columns, (units, N), so that keeping some units copies whole rows of memory.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor, nn

from engine.draw.masks import Masks


class Output(NamedTuple):
    """L outputs for N stars in scaled label units, and log-variances where the network predicts them."""

    value_NL: Tensor
    log_variance_NL: Tensor | None = None


Columns: TypeAlias = tuple[Tensor, ...]
Thinned: TypeAlias = Callable[[Columns], Output]


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

    @abstractmethod
    def hidden(self, x_NI: Tensor) -> Tensor:
        """The last hidden layer without dropout, shape (N, H)."""

    def constrain(self) -> None:
        """Bring weights back, after each step of a training, to where its authors keep them: anywhere."""
