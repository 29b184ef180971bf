"""The CNNs for RAVE spectra (Guiglion et al.): the poster's of 2019 and the published one of 2020.

2019: 44,226 parameters, four labels from 723 pixels. 2020 (A&A 644, A168; public notebook): 58,549
parameters, nine labels from 912 pixels, eight absolute magnitudes and A_V. Ensembles, without dropout.
"""

from pydantic import Field
from torch import nn

from engine.draw import Branched, Chain
from engine.models.keras import ChannelsLast, glorot, leaky, spectrum
from engine.spec import Frozen

FILTERS = (8, 4, 2)
# The poster prints shapes of which kernels of 20 pixels follow; the notebook has kernels of 10.
KERNEL_2019, KERNEL_2020 = 20, 10
MAGNITUDES, MAGNITUDE_UNITS = 9, 27


class RaveHyper(Frozen):
    """Hyper-parameters of the RAVE CNNs."""

    dropout: float = Field(default=0.2, gt=0, lt=1)
    """Probability that a value of the last filters is dropped, in training (and in draws, if asked for)."""


def build_2019(hyper: Frozen, inputs: int, outputs: int) -> Chain:
    """Three convolutions, two dense layers, a linear head."""
    assert isinstance(hyper, RaveHyper)
    width = (inputs - 3 * (KERNEL_2019 - 1)) * FILTERS[-1]
    network = Chain(
        *_convolutions(inputs, KERNEL_2019),
        nn.Dropout(hyper.dropout),
        *(nn.Linear(width, 32), leaky(), nn.Linear(32, 16), leaky(), nn.Linear(16, outputs)),
    )
    glorot(network)
    return network


def build_2020(hyper: Frozen, inputs: int, outputs: int) -> Branched:
    """A branch for the spectrum, one for magnitudes and extinction, joined before the last two layers."""
    assert isinstance(hyper, RaveHyper)
    pixels = inputs - MAGNITUDES
    width = (pixels - 3 * (KERNEL_2020 - 1)) * FILTERS[-1]
    spectra = nn.Sequential(
        *_convolutions(pixels, KERNEL_2020), nn.Dropout(hyper.dropout), nn.Linear(width, 32), leaky()
    )
    magnitudes = nn.Sequential(nn.Linear(MAGNITUDES, MAGNITUDE_UNITS), leaky())
    tail = nn.Sequential(nn.Linear(32 + MAGNITUDE_UNITS, 16), leaky(), nn.Linear(16, outputs))
    network = Branched((spectra, magnitudes), (pixels, MAGNITUDES), tail)
    glorot(network)
    return network


def _convolutions(pixels: int, kernel: int) -> list[nn.Module]:
    layers: list[nn.Module] = [spectrum(pixels)]
    for below, filters in zip((1, *FILTERS), FILTERS, strict=False):
        layers += [nn.Conv1d(below, filters, kernel), leaky()]
    return [*layers, ChannelsLast()]
