"""The DESI MLPs: fully connected networks on continuum-normalised DESI spectra, after Lee et al.

The posters of Lee, Speagle, Li and Heiger (DESI x APOGEE DR17) print four and five hidden layers, the
chi-square loss and median/IQR scaling. Widths, activation, dropout, grid and continuum are not
published: those below are ours, and nothing here reproduces their numbers.
"""

from functools import cache
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, PositiveInt
from torch import nn

from engine.models.architecture import Architecture
from engine.prepare.coadd import coadd_arms, union_grid
from engine.prepare.continuum import Smoother, make_smoother, normalise, snr
from engine.prepare.frame import rest_factor
from engine.prepare.mask import TELLURIC_WINDOWS, clean, in_windows
from engine.prepare.resample import resample
from engine.spec import Frozen
from engine.types import Arm, Floats, Grid, Ints, Normalised, Spectrograph

# The union of DESI's three arms, here in the rest frame.
DESI_GRID = Grid(start=3600.0, step=0.8, pixels=7781)
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class MlpHyper(Frozen):
    """Hyper-parameters of an MLP."""

    hidden: tuple[PositiveInt, ...] = Field(min_length=1)
    """Widths of the hidden layers."""
    activation: Literal["relu", "gelu"] = "relu"
    """After each hidden layer."""
    dropout: float = Field(default=0.1, gt=0, lt=1)
    """Probability that a hidden unit is dropped, in training and in every draw."""


def build_mlp(hyper: Frozen, pixels: int, outputs: int) -> nn.Sequential:
    """Linear, activation, dropout for each hidden layer, then a linear head."""
    assert isinstance(hyper, MlpHyper)
    layers: list[nn.Module] = []
    width = pixels
    for hidden in hyper.hidden:
        layers += [nn.Linear(width, hidden), ACTIVATIONS[hyper.activation](), nn.Dropout(hyper.dropout)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def normalise_desi(spectra: pa.Table, spectrograph: Spectrograph, grid: Grid) -> Normalised:
    """Mask, coadd, shift to rest and resample once, divide by the continuum."""
    arms = spectrograph.arms
    flux_A, ivar_A, nonfinite_A = zip(*(clean(*_arrays(spectra, arm)) for arm in arms), strict=True)
    flux_NP, ivar_NP = coadd_arms(arms, flux_A, ivar_A)
    observed = union_grid(arms)
    if spectrograph.frame == "observed":
        ivar_NP[:, in_windows(observed.wave_P, TELLURIC_WINDOWS)] = 0
    snr_N = snr(flux_NP, ivar_NP)
    factor_N = rest_factor(spectrograph.frame, spectra["rv"].fill_null(np.nan).to_numpy())
    flux_NP, ivar_NP = resample(flux_NP, ivar_NP, grid=observed, to=grid, factor_N=factor_N)
    lit_fraction_N = _share(ivar_NP)
    flux_NP, ivar_NP, spikes_N = normalise(flux_NP, ivar_NP, _smoother(grid))
    return Normalised(
        flux_NP=flux_NP,
        ivar_NP=ivar_NP,
        snr_N=snr_N,
        lit_fraction_N=lit_fraction_N,
        good_fraction_N=_share(ivar_NP),
        nonfinite_N=np.stack(nonfinite_A).sum(axis=0, dtype=np.int32),
        spikes_N=spikes_N,
    )


def _arrays(spectra: pa.Table, arm: Arm) -> tuple[Floats, Floats, Ints]:
    """Flux, ivar and mask of one arm as numpy, without a copy where the batch is of one chunk."""
    columns = (spectra[f"{kind}_{arm.name}"] for kind in ("flux", "ivar", "mask"))
    parts = (column.chunk(0) if column.num_chunks == 1 else column.combine_chunks() for column in columns)
    flux, ivar, mask = (part.to_numpy_ndarray() for part in parts)
    return flux, ivar, mask


def _share(ivar_NP: Floats) -> Floats:
    return (ivar_NP > 0).mean(axis=1, dtype=np.float32)


@cache
def _smoother(grid: Grid) -> Smoother:
    return make_smoother(grid)


def _desi_mlp(name: str, hidden: tuple[int, ...]) -> Architecture:
    return Architecture(
        name=name,
        title=f"DESI MLP, {len(hidden)} hidden layers",
        reference="after Lee, Speagle, Li & Heiger (posters on DESI x APOGEE DR17); widths are ours",
        grid=DESI_GRID,
        frame="rest",
        medium="vacuum",
        hyper=MlpHyper(hidden=hidden),
        normalise=normalise_desi,
        build=build_mlp,
    )


DESI_MLP_4 = _desi_mlp("desi_mlp_4", (1024, 512, 256, 128))
DESI_MLP_5 = _desi_mlp("desi_mlp_5", (1024, 512, 256, 128, 64))
