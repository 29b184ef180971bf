"""Draws of a stack of layers together, as products of many matrices at once: what a card likes.

Thinned networks are small, and a card would wait for their launches rather than compute. All draws of a layer
have the same shape but for how many units they keep, so shorter ones are filled up with weights of 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from engine.draw.thin import ThinLayer, ThinStack

# Each draw copies the columns that it keeps: a few draws at a time bound that, and fill a card already.
DRAWS_TOGETHER = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedLayer:
    """A layer of K draws: `weight_KOI` maps I units to O."""

    weight_KOI: Tensor
    bias_KO1: Tensor
    after: tuple[nn.Module, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedStack:
    """K draws of a stack: the units that each keeps of the input, and the layers."""

    kept_KI: Tensor
    layers: tuple[GroupedLayer, ...]

    def __call__(self, value_KIN: Tensor) -> Tensor:
        """The outputs as columns, shape (K, O, N); of inputs for each draw, or of one for all."""
        shared, inputs, stars = value_KIN.shape
        rows_KI = self.kept_KI
        if shared > 1:
            rows_KI = rows_KI + inputs * torch.arange(shared, device=value_KIN.device)[:, None]
        value = value_KIN.reshape(-1, stars).index_select(0, rows_KI.flatten())
        value = value.view(*rows_KI.shape, stars)
        for layer in self.layers:
            value = torch.baddbmm(layer.bias_KO1, layer.weight_KOI, value)
            for function in layer.after:
                value = function(value)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouped:
    """All draws, as groups of some that follow one another."""

    groups: tuple[GroupedStack, ...]

    def __call__(self, value_KIN: Tensor) -> Tensor:
        """The outputs of all draws as columns, shape (K, O, N); of inputs for each, or of one for all."""
        draws = [len(group.kept_KI) for group in self.groups]
        parts = [value_KIN] * len(draws) if len(value_KIN) == 1 else value_KIN.split(draws)
        return torch.cat([group(part) for group, part in zip(self.groups, parts, strict=True)])


def group(stacks_K: Sequence[ThinStack]) -> Grouped:
    """The draws of one stack of layers, together."""
    parts = [stacks_K[i : i + DRAWS_TOGETHER] for i in range(0, len(stacks_K), DRAWS_TOGETHER)]
    return Grouped(groups=tuple(_group(part) for part in parts))


def _group(stacks_K: Sequence[ThinStack]) -> GroupedStack:
    layers = zip(*(stack.layers for stack in stacks_K), strict=True)
    # What fills up is unit 0, again, with a weight of 0.
    kept_KI = pad_sequence([stack.kept_I for stack in stacks_K], batch_first=True)
    return GroupedStack(kept_KI=kept_KI, layers=tuple(_group_layer(layer_K) for layer_K in layers))


def _group_layer(layer_K: Sequence[ThinLayer]) -> GroupedLayer:
    units, inputs = (max(layer.weight_OI.shape[axis] for layer in layer_K) for axis in (0, 1))
    weight_KOI = layer_K[0].weight_OI.new_zeros((len(layer_K), units, inputs))
    bias_KO1 = layer_K[0].bias_O1.new_zeros((len(layer_K), units, 1))
    for weight_OI, bias_O1, layer in zip(weight_KOI, bias_KO1, layer_K, strict=True):
        kept, below = layer.weight_OI.shape
        weight_OI[:kept, :below] = layer.weight_OI
        bias_O1[:kept] = layer.bias_O1
    return GroupedLayer(weight_KOI=weight_KOI, bias_KO1=bias_KO1, after=layer_K[0].after)
