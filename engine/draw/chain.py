"""Networks of layers one after another."""

from collections.abc import Sequence

from torch import Tensor, nn

from engine.draw.grouped import group
from engine.draw.masks import Masks
from engine.draw.network import Columns, Drawn, Network, Output, Outputs, Thinned
from engine.draw.thin import thin


class Chain(Network):
    """A network whose layers after the first dropout are linear, elementwise or dropout."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x_NI: Tensor) -> Output:
        """All layers in turn."""
        return Output(self.layers(x_NI))

    def once(self, x_NI: Tensor) -> Columns:
        """What enters the first dropout, as columns."""
        return (before_dropout(self.layers)(x_NI).T.contiguous(),)

    def thinned(self, masks: Masks) -> Thinned:
        """One draw; ValueError for layers that cannot be thinned, and for a network without dropout."""
        stack = thin(self._drawn(), masks)
        return lambda columns: Output(stack(columns[0]).T)

    def grouped(self, masks_K: Sequence[Masks]) -> Drawn:
        """All draws of each layer together."""
        stacks = group([thin(self._drawn(), masks) for masks in masks_K])
        return lambda columns: Outputs(stacks(columns[0][None]).mT)

    def hidden(self, x_NI: Tensor) -> Tensor:
        """What enters the last linear layer, shape (N, H)."""
        return nn.Sequential(*before_head(self.layers))(x_NI)

    def _drawn(self) -> list[nn.Module]:
        layers = after_dropout(self.layers)
        if not layers:
            raise ValueError("the network has no dropout to draw from")
        return layers


def before_dropout(layers: nn.Sequential) -> nn.Sequential:
    """The layers before the first dropout; all of them where there is none."""
    return nn.Sequential(*list(layers)[: _first_dropout(layers)])


def after_dropout(layers: nn.Sequential) -> list[nn.Module]:
    """The layers from the first dropout on."""
    return list(layers)[_first_dropout(layers) :]


def before_head(layers: nn.Sequential) -> list[nn.Module]:
    """The layers before the last linear one."""
    last = max(i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear))
    return list(layers)[:last]


def _first_dropout(layers: nn.Sequential) -> int:
    return next((i for i, layer in enumerate(layers) if isinstance(layer, nn.Dropout)), len(layers))
