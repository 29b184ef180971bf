"""The hybrid network for Gaia RVS spectra, after Guiglion et al. (2024, A&A 682, A9).

Printed: RVS spectra, XP coefficients, G, BP, RP and parallax give Teff, logg, [M/H], [alpha/M] and [Fe/H];
a label is safe where the five labels, G and parallax lie inside the training range; errors are the spread of
an ensemble. Layers, grid and scaling are not published: those below are ours, and nothing here reproduces
their numbers.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt
from torch import nn

from engine.draw import Branched
from engine.models.beside import numbers
from engine.models.keras import ChannelsLast, glorot, leaky, spectrum
from engine.prepare.array import column
from engine.spec import Frozen
from engine.types import Extra, Extras, Grid

# Three pixels of the archive's spectra in one.
RVS_GRID = Grid(start=8460.1, step=0.3, pixels=800)
XP = (
    Extra(name="bp_coefficients", size=55, limited=False),
    Extra(name="rp_coefficients", size=55, limited=False),
)
SCALARS = tuple(
    Extra(name=name) for name in ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "parallax")
)
EXTRAS = (*XP, *SCALARS)
XP_SIZE = sum(extra.size for extra in XP)
# Coefficients are divided by the flux of a star relative to one of this magnitude.
REFERENCE_MAG = 15.0


class HybridHyper(Frozen):
    """Hyper-parameters of the hybrid network; all of them ours."""

    filters: tuple[PositiveInt, ...] = (16, 8, 4)
    """Filters of the convolutions on RVS pixels, each followed by pooling of two."""
    kernel: PositiveInt = 9
    """Pixels that a filter spans."""
    xp_filters: tuple[PositiveInt, ...] = (8, 4)
    """Filters of the convolutions on XP coefficients."""
    xp_kernel: PositiveInt = 5
    """Coefficients that a filter spans."""
    branch: PositiveInt = 64
    """Width of the dense layer that ends each branch."""
    dense: tuple[PositiveInt, ...] = (64, 32)
    """Widths of the layers after the join."""
    dropout: float = Field(default=0.1, gt=0, lt=1)
    """Probability that a unit is dropped, in training (and in draws, if asked for)."""


def beside(spectra: pa.Table) -> Extras:
    """XP coefficients over 10^(0.4 (15 - G)), so that they tell the shape alone, and the scalars as they are.

    Without G a star has no coefficients either.
    """
    found = numbers(spectra, EXTRAS)
    magnitude_N = column(spectra, "phot_g_mean_mag")
    value_NE = found.value_NE.copy()
    # Of an absurd G nothing finite may be left, which `scale_inputs` takes for missing.
    with np.errstate(all="ignore"):
        value_NE[:, :XP_SIZE] /= 10.0 ** (0.4 * (REFERENCE_MAG - magnitude_N[:, None]))
    return replace(found, value_NE=value_NE)


def build_hybrid(hyper: Frozen, inputs: int, outputs: int) -> Branched:
    """Convolutions on pixels, others on coefficients (BP, then RP), a dense layer on scalars; joined."""
    assert isinstance(hyper, HybridHyper)
    scalars = len(SCALARS)
    pixels = inputs - XP_SIZE - scalars
    tail: list[nn.Module] = []
    width = 3 * hyper.branch
    for units in hyper.dense:
        tail += [nn.Linear(width, units), leaky(), nn.Dropout(hyper.dropout)]
        width = units
    branches = (
        _convolved(pixels, hyper.filters, hyper.kernel, hyper),
        _convolved(XP_SIZE, hyper.xp_filters, hyper.xp_kernel, hyper),
        nn.Sequential(nn.Linear(scalars, hyper.branch), leaky()),
    )
    network = Branched(branches, (pixels, XP_SIZE, scalars), nn.Sequential(*tail, nn.Linear(width, outputs)))
    glorot(network)
    return network


def _convolved(pixels: int, filters: Sequence[int], kernel: int, hyper: HybridHyper) -> nn.Sequential:
    layers: list[nn.Module] = [spectrum(pixels)]
    below = 1
    for count in filters:
        layers += [nn.Conv1d(below, count, kernel), leaky(), nn.MaxPool1d(2)]
        pixels, below = (pixels - kernel + 1) // 2, count
    layers += [ChannelsLast(), nn.Dropout(hyper.dropout), nn.Linear(pixels * below, hyper.branch), leaky()]
    return nn.Sequential(*layers)
