"""The contract of a model: how spectra become inputs, and how its network is built."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from engine.draw import Network
from engine.errors import PlanError
from engine.spec import Frozen, Sampling
from engine.types import (
    Arm,
    Basis,
    Bits,
    Column,
    Estimates,
    Extra,
    Extras,
    Grid,
    Input,
    Normalised,
    Spectrograph,
    Waves,
)

# Share of a model's pixels that a survey must cover, and how much wider than them its own may be.
LEAST_COVERED = 0.85
WIDEST = 1.5

Scaler = Literal["none", "centre", "scale", "mean_std", "min_max", "median_iqr"]


class Normalise(Protocol):
    """The preparation of spectra up to the fitted scaling; on a device, or with numpy where it is None."""

    def __call__(
        self,
        spectra: pa.Table,
        spectrograph: Spectrograph,
        wanted: Input,
        device: torch.device | None = None,
    ) -> Normalised: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What we found of N rows: labels by `names`, and on which `sides` of the training range things lie.

    `estimates` is None for rows that could not be read; their spectra are columns without arrays.
    """

    spectra: pa.Table
    names: Sequence[str]
    estimates: Estimates | None
    sides: Mapping[str, Bits]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the authors of a network publish beside its labels: `judge` gives one array for each column."""

    columns: tuple[Column, ...]
    judge: Callable[[Verdict], Mapping[str, pa.Array]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """How pixels, extras and labels are scaled for the network, fitted on the training stars."""

    pixels: Scaler = "median_iqr"
    extras: Scaler = "median_iqr"
    labels: Scaler = "median_iqr"


MEDIAN_IQR = Scaling()
DROPOUT = Sampling()


def no_extras(spectra: pa.Table) -> Extras:
    """For a network that sees pixels alone."""
    rows = len(spectra)
    return Extras(names=(), value_NE=np.empty((rows, 0), np.float32), saturated_N=np.zeros(rows, bool))


def no_penalty(network: nn.Module, hyper: Frozen) -> Tensor:  # noqa: ARG001
    """For a network whose weights may be as large as they like."""
    return torch.zeros(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One network of the literature or of ours, as data and functions.

    `build(hyper, inputs, outputs)` gives the untrained network. `beside(spectra)` computes the `extras`, in
    their order, from the columns that `needs` names; `wishes` names those that it can do without.
    """

    name: str
    title: str
    reference: str
    input: Input
    hyper: Frozen
    normalise: Normalise
    build: Callable[[Frozen, int, int], Network]
    extras: tuple[Extra, ...] = ()
    beside: Callable[[pa.Table], Extras] = no_extras
    needs: tuple[str, ...] = ()
    wishes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    """What it gives, in the order of its outputs; empty where the training chooses."""
    labels_of: Callable[[Frozen], tuple[str, ...]] | None = None
    """The same with other hyper-parameters, where these decide."""
    scaling: Scaling = MEDIAN_IQR
    loss: Literal["chi2", "mse", "robust"] = "chi2"
    """What it is trained with, where the training does not say otherwise."""
    penalty: Callable[[nn.Module, Frozen], Tensor] = no_penalty
    """What its authors add to the loss for large weights, of the network and its hyper-parameters."""
    sampling: Sampling = DROPOUT
    """How it is drawn, where a bundle was not calibrated."""
    distances: bool = False
    """Whether its one label is a pseudo-luminosity that distances follow from (engine/distance.py)."""
    published: Published | None = None

    @property
    def inputs(self) -> int:
        """How many numbers its network sees of a star: pixels, then extras."""
        return self.input.pixels + sum(extra.size for extra in self.extras)


def other_labels(architecture: Architecture, hyper: Frozen, names: Sequence[str]) -> str | None:
    """What is wrong with these labels for a network whose outputs have a meaning of their own."""
    given = architecture.labels_of(hyper) if architecture.labels_of else architecture.labels
    if given in ((), tuple(names)):
        return None
    remedy = "; its hyper-parameters decide" if architecture.labels_of else ""
    return f"{architecture.name} gives {', '.join(given)}, in this order, not {', '.join(names)}{remedy}"


def handshake(
    architecture: Architecture, survey: str, spectrograph: Spectrograph, columns: Collection[str]
) -> None:
    """PlanError, naming both sides, unless the model's inputs can be had from a survey's spectra.

    `columns` are those of its batches, auxiliary tables joined.
    """
    want = architecture.input
    problems = []
    if (spectrograph.frame, want.frame) == ("rest", "observed"):
        problems.append("spectra are at rest, the model wants them as observed")
    if isinstance(want.grid, Grid):
        problems += _missing_light(want.grid, spectrograph.arms)
    elif _coefficients(spectrograph.arms) != want.grid.pixels:
        problems.append(f"the model wants {want.grid.pixels} coefficients of basis functions, not spectra")
    if missing := [name for name in architecture.needs if name not in columns]:
        problems.append(f"the model also wants {', '.join(missing)}: join them with [[auxiliary]] columns")
    if problems:
        raise PlanError(
            f"survey {survey} cannot feed model {architecture.name}: {'; '.join(problems)}. "
            "Choose another bundle, or see `abundant models`."
        )


def _coefficients(arms: Sequence[Arm]) -> int:
    return sum(arm.grid.pixels for arm in arms if isinstance(arm.grid, Basis))


def _missing_light(want: Grid, arms: Sequence[Arm]) -> list[str]:
    """Why a grid cannot be filled from some arms; air or vacuum does not matter at this scale."""
    seen = [arm.grid for arm in arms if not isinstance(arm.grid, Basis)]
    if not seen:
        return ["its rows are coefficients of basis functions, the model wants spectra"]
    wave_P, step = want.wave_P, (want.high - want.low) / (want.pixels - 1)
    covered_P = np.zeros(want.pixels, bool)
    for grid in seen:
        if _step(grid) <= WIDEST * step:
            covered_P |= (wave_P >= grid.low - 2 * step) & (wave_P <= grid.high + 2 * step)
    if covered_P.mean() >= LEAST_COVERED:
        return []
    have = ", ".join(f"{grid.low:.0f}-{grid.high:.0f} A in steps of {_step(grid):.2f} A" for grid in seen)
    return [f"spectra span {have}, the model wants {want.low:.0f}-{want.high:.0f} A in steps of {step:.2f} A"]


def _step(grid: Grid | Waves) -> float:
    """The mean step in Angstrom; of spectra that bring their wavelengths, the least that they can have."""
    return (grid.high - grid.low) / (grid.pixels - 1)
