"""The CNN for lithium in GIRAFFE HR15N spectra (Nepal et al. 2023, A&A 671, A61; public notebook).

Teff, logg, [Fe/H] and A(Li) from 6861 pixels; 448,134 parameters with these four outputs (the notebook prints
448,167, of a network with a fifth). An ensemble of trained networks gives the errors.
"""

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn

from engine.draw import Chain
from engine.models.keras import ChannelsLast, glorot, leaky, spectrum
from engine.spec import Frozen

# Filters and kernel of each convolution; all but the last are followed by pooling of two.
CONVOLUTIONS = ((8, 10), (6, 15), (4, 10))
DENSE = (64, 128, 32)


class LithiumHyper(Frozen):
    """Hyper-parameters of the lithium CNN."""

    dropout: float = Field(default=0.2, gt=0, lt=1)
    """Probability that a unit is dropped, in training (and in draws, if asked for)."""
    l2: NonNegativeFloat = 0.005
    """Penalty on the kernels of the convolutions: l2 times the sum of their squares."""


def build_lithium(hyper: Frozen, inputs: int, outputs: int) -> Chain:
    """Three convolutions with pooling, three dense layers, a linear head."""
    assert isinstance(hyper, LithiumHyper)
    layers: list[nn.Module] = [spectrum(inputs)]
    pixels, below = inputs, 1
    for i, (filters, kernel) in enumerate(CONVOLUTIONS):
        layers += [nn.Conv1d(below, filters, kernel), leaky()]
        pixels, below = pixels - kernel + 1, filters
        if i < len(CONVOLUTIONS) - 1:
            layers.append(nn.MaxPool1d(2))
            pixels //= 2
    layers += [ChannelsLast(), nn.Dropout(hyper.dropout)]
    width = pixels * below
    for i, units in enumerate(DENSE):
        layers += [nn.Linear(width, units), leaky()]
        if i < len(DENSE) - 1:
            layers.append(nn.Dropout(hyper.dropout))
        width = units
    network = Chain(*layers, nn.Linear(width, outputs))
    glorot(network)
    return network


def penalty(network: nn.Module, hyper: Frozen) -> Tensor:
    """Keras' l2: the sum of squares of the convolutions' kernels, not of their biases, times hyper.l2."""
    assert isinstance(hyper, LithiumHyper)
    kernels = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv1d)]
    return hyper.l2 * torch.stack([kernel.square().sum() for kernel in kernels]).sum()
