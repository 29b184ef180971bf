"""Multi-layer perceptrons of ours: one or more for each kind of spectrum, a first network for any survey.

Nothing here reproduces a published network; those have files of their own.
"""

from dataclasses import replace
from typing import Literal

from pydantic import Field, PositiveInt
from torch import nn

from engine.draw import Chain
from engine.models.architecture import Architecture
from engine.models.beside import columns_beside
from engine.prepare.normalised import over_continuum, over_first, over_level
from engine.spec import Frozen
from engine.types import Basis, Extra, Grid, Input

ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}

# The grids of the surveys themselves, but for those whose files each bring their own.
RVS_GRID = Grid(start=8460.0, step=0.1, pixels=2401)
XP_GRID = Grid(start=3360.0, step=20.0, pixels=343)
APOGEE_GRID = Grid(start=4.179, step=6e-6, pixels=8575, spacing="log10")
RAVE_GRID = Grid(start=8420.0, step=0.4, pixels=926)
HR15N_GRID = Grid(start=6475.0, step=0.1, pixels=3101)
GALAH_GRID = Grid(start=6478.0, step=0.1, pixels=2591)


class MlpHyper(Frozen):
    """Hyper-parameters of an MLP."""

    hidden: tuple[PositiveInt, ...] = Field(min_length=1)
    """Widths of the hidden layers."""
    activation: Literal["relu", "gelu"] = "relu"
    """After each hidden layer."""
    dropout: float = Field(default=0.1, gt=0, lt=1)
    """Probability that a hidden unit is dropped, in training and in every draw."""


def build_mlp(hyper: Frozen, inputs: int, outputs: int) -> Chain:
    """Linear, activation, dropout for each hidden layer, then a linear head."""
    assert isinstance(hyper, MlpHyper)
    layers: list[nn.Module] = []
    width = inputs
    for hidden in hyper.hidden:
        layers += [nn.Linear(width, hidden), ACTIVATIONS[hyper.activation](), nn.Dropout(hyper.dropout)]
        width = hidden
    return Chain(*layers, nn.Linear(width, outputs))


def _mlp(
    name: str, title: str, grid: Grid | Basis, medium: Literal["vacuum", "air"] = "vacuum"
) -> Architecture:
    resolved = over_continuum if isinstance(grid, Grid) and grid is not XP_GRID else over_level
    return Architecture(
        name=name,
        title=title,
        reference="ours: widths, preparation and training are this program's",
        input=Input(grid=grid, frame="rest", medium=medium),
        hyper=MlpHyper(hidden=(512, 256, 128)),
        normalise=over_first if isinstance(grid, Basis) else resolved,
        build=build_mlp,
    )


# Coefficients over one of them tell nothing of a star's brightness. Magnitudes do, and with them a network
# learns the distances of its training stars too, which those of another sample need not resemble.
XP_PHOTOMETRY = tuple(
    Extra(name=name) for name in ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag")
)

MLPS = (
    _mlp("rvs_mlp", "MLP on Gaia RVS mean spectra", RVS_GRID),
    _mlp("xp_mlp", "MLP on the 110 coefficients of Gaia XP", Basis(pixels=110)),
    replace(
        _mlp(
            "xp_photometry_mlp", "MLP on the 110 coefficients of Gaia XP and on photometry", Basis(pixels=110)
        ),
        extras=XP_PHOTOMETRY,
        beside=columns_beside(XP_PHOTOMETRY),
        needs=tuple(extra.name for extra in XP_PHOTOMETRY),
    ),
    _mlp("xp_sampled_mlp", "MLP on Gaia XP spectra as sampled in DR3", XP_GRID),
    _mlp("apogee_mlp", "MLP on APOGEE spectra", APOGEE_GRID),
    _mlp("rave_mlp", "MLP on RAVE spectra", RAVE_GRID, "air"),
    _mlp("hr15n_mlp", "MLP on GIRAFFE HR15N spectra", HR15N_GRID, "air"),
    _mlp("galah_mlp", "MLP on the red arm of GALAH", GALAH_GRID, "air"),
)
