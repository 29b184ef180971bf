"""Draws: K thinned networks, the same for every star, so that a label depends on its spectrum alone.

Gal & Ghahramani (2016): each dropout mask picks one network from the approximate posterior. The mask of
draw k in dropout layer l is a pure function of (seed, k, l); the units it drops are taken out of the
weight matrices once, at load, so that a draw costs (1-p)² of the products and no random numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import UnexpectedNaN
from engine.spec import Sampling
from engine.types import Bools, Draws, Inputs

ELEMENTWISE = (nn.ReLU, nn.GELU, nn.LeakyReLU, nn.Tanh, nn.Softplus, nn.Sigmoid)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinLayer:
    """A linear layer between two dropouts with the dropped units taken out, and what follows it.

    Column vectors: `weight_OI` maps the I kept units below to the O kept units of this layer.
    """

    weight_OI: Tensor
    bias_O1: Tensor
    after: tuple[nn.Module, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """One network as K thinned ones: a part that is computed once per star, then K stacks of layers."""

    prefix: nn.Sequential
    kept_KI: tuple[Tensor, ...]
    thinned_K: tuple[tuple[ThinLayer, ...], ...]


def keep_mask(seed: int, draw: int, layer: int, units: int, dropout: float) -> Bools:
    """Which units draw k keeps in dropout layer l: Philox4x64 keyed by (seed, k, l), shape (units,)."""
    generator = np.random.Generator(np.random.Philox(key=[seed, (draw << 32) | layer]))
    return generator.random(units) >= dropout


def thin(network: nn.Sequential, sampling: Sampling, device: torch.device) -> Bank:
    """The bank of a network whose layers after the first dropout are linear, elementwise or dropout.

    ValueError for any other layer there, and for a network without dropout.
    """
    layers = list(network.to(device))
    first = next((i for i, layer in enumerate(layers) if isinstance(layer, nn.Dropout)), None)
    if first is None:
        raise ValueError("the network has no dropout to draw from")
    stages = _stages(layers[first:])
    kept, thinned = zip(*(_thin_once(stages, sampling.seed, k) for k in range(sampling.draws)), strict=True)
    return Bank(prefix=nn.Sequential(*layers[:first]), kept_KI=kept, thinned_K=thinned)


@dataclass(slots=True, kw_only=True)
class _Stage:
    """A linear layer (None for what enters the suffix), its activation, and the dropout behind it."""

    linear: nn.Linear | None = None
    after: tuple[nn.Module, ...] = ()
    dropout: float = 0.0


def _stages(suffix: Sequence[nn.Module]) -> list[_Stage]:
    stages = [_Stage()]
    for layer in suffix:
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


def _thin_once(stages: Sequence[_Stage], seed: int, draw: int) -> tuple[Tensor, tuple[ThinLayer, ...]]:
    """The units that a draw keeps of the suffix's input, and its thinned layers.

    A kept unit counts 1 / (1 - p); that factor goes into the weights above it.
    """
    linears = [stage.linear for stage in stages if stage.linear is not None]
    units = [linears[0].in_features, *(linear.out_features for linear in linears)]
    kept = [
        _kept(seed, draw, i, n, stage.dropout) for i, (n, stage) in enumerate(zip(units, stages, strict=True))
    ]
    layers = []
    for i, linear in enumerate(linears, start=1):
        rows, columns = kept[i].to(linear.weight.device), kept[i - 1].to(linear.weight.device)
        weight = linear.weight[rows][:, columns] / (1 - stages[i - 1].dropout)
        layers.append(ThinLayer(weight_OI=weight, bias_O1=linear.bias[rows, None], after=stages[i].after))
    return kept[0].to(linears[0].weight.device), tuple(layers)


def _kept(seed: int, draw: int, layer: int, units: int, dropout: float) -> Tensor:
    return torch.from_numpy(np.flatnonzero(keep_mask(seed, draw, layer, units, dropout)))


def draw(networks: Sequence[Bank], inputs: Inputs) -> Draws:
    """All draws of all networks for N stars: members of an ensemble follow one another along K.

    UnexpectedNaN when a usable star gets an output that is not finite.
    """
    with torch.inference_mode():
        value_KNL = torch.cat([_draw_bank(bank, inputs) for bank in networks]).cpu().numpy()
    bad_N = ~np.isfinite(value_KNL).all(axis=(0, 2)) & inputs.usable_N
    if bad_N.any():
        source = (
            "the bundle's weights are broken"
            if np.isfinite(inputs.x_NP).all()
            else "so was what prepare gave"
        )
        raise UnexpectedNaN(
            f"the network gave NaN or infinity for {bad_N.sum()} of {len(bad_N)} spectra, "
            f"first at row {int(bad_N.argmax())} of its batch: {source}"
        )
    return Draws(value_KNL=value_KNL)


def _draw_bank(bank: Bank, inputs: Inputs) -> Tensor:
    """Outputs of one bank, shape (K, N, L). Stars are columns, so that keeping units copies whole rows."""
    device = bank.kept_KI[0].device
    hidden_IN = bank.prefix(torch.from_numpy(inputs.x_NP).to(device)).T.contiguous()
    outputs = []
    for kept, layers in zip(bank.kept_KI, bank.thinned_K, strict=True):
        value = hidden_IN.index_select(0, kept)
        for layer in layers:
            value = torch.addmm(layer.bias_O1, layer.weight_OI, value)
            for function in layer.after:
                value = function(value)
        outputs.append(value.T)
    return torch.stack(outputs)
