"""Where a training stands after an epoch: everything that the next one needs."""

from dataclasses import dataclass, field

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from engine.draw import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one epoch reached: the loss on training stars, penalty included, and on validation stars.

    `scatter_L` is 1.4826 * median absolute residual of the validation stars, in each label's unit.
    """

    number: int
    train_loss: float
    validation_loss: float
    best: bool
    learning_rate: float = 0.0
    scatter_L: tuple[float, ...] = ()
    member: int = 0
    seconds: float = field(default=0.0, compare=False)
    """How long it took, which differs each time."""


@dataclass(slots=True, kw_only=True)
class State:
    """A network in training. No generator: an epoch's random numbers follow from seed and number alone."""

    network: Network
    optimiser: Optimizer
    schedule: LRScheduler
    best: dict[str, Tensor]
    history: list[Epoch]
