"""Layers one after another, and how the units that a draw drops are taken out of their matrices.

Gal & Ghahramani (2016): each dropout mask picks one network from the approximate posterior. Dropped units
are taken out of the weights once, at load, so that a draw costs (1-p)² of the products and no random numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.draw.masks import Masks

ELEMENTWISE = (nn.ReLU, nn.GELU, nn.LeakyReLU, nn.Tanh, nn.Softplus, nn.Sigmoid)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinLayer:
    """A linear layer with the dropped units taken out, and what follows it.

    `weight_OI` maps the I kept units below to the O kept units of this layer.
    """

    weight_OI: Tensor
    bias_O1: Tensor
    after: tuple[nn.Module, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinStack:
    """One draw of a stack of layers: the units it keeps of its input, then its thinned layers."""

    kept_I: Tensor
    layers: tuple[ThinLayer, ...]

    def __call__(self, value_IN: Tensor) -> Tensor:
        """The stack's output as columns, shape (O, N)."""
        value = value_IN.index_select(0, self.kept_I)
        for layer in self.layers:
            value = torch.addmm(layer.bias_O1, layer.weight_OI, value)
            for function in layer.after:
                value = function(value)
        return value


@dataclass(slots=True, kw_only=True)
class _Stage:
    """A linear layer (None for what enters the stack), its activation, and the dropout behind it."""

    linear: nn.Linear | None = None
    after: tuple[nn.Module, ...] = ()
    dropout: float = 0.0


def thin(layers: Sequence[nn.Module], masks: Masks) -> ThinStack:
    """One draw of a stack of layers; ValueError where one is not linear, elementwise or dropout.

    A kept unit counts 1 / (1 - p); that factor goes into the weights above it.
    """
    stages = _stages(layers)
    linears = [stage.linear for stage in stages if stage.linear is not None]
    if not linears or stages[-1].dropout > 0:
        raise ValueError("cannot thin a stack that does not end with a linear layer and its activation")
    units = [linears[0].in_features, *(linear.out_features for linear in linears)]
    kept = [masks.kept(count, stage.dropout) for count, stage in zip(units, stages, strict=True)]
    thinned = []
    for i, linear in enumerate(linears, start=1):
        weight = linear.weight[kept[i]][:, kept[i - 1]] / (1 - stages[i - 1].dropout)
        thinned.append(ThinLayer(weight_OI=weight, bias_O1=linear.bias[kept[i], None], after=stages[i].after))
    return ThinStack(kept_I=kept[0], layers=tuple(thinned))


def _stages(layers: Sequence[nn.Module]) -> list[_Stage]:
    stages = [_Stage()]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            stages.append(_Stage(linear=layer))
        elif isinstance(layer, nn.Dropout):
            stages[-1].dropout = layer.p
        elif isinstance(layer, ELEMENTWISE) and stages[-1].dropout == 0:
            stages[-1].after += (layer,)
        else:
            raise ValueError(
                f"cannot thin a network with {layer} there; after the first dropout only linear "
                "layers, activations and dropouts are known"
            )
    return stages
