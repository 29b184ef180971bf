"""The contract of a model: how spectra become inputs, and how its network is built."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from torch import nn

from engine.errors import PlanError
from engine.spec import Frozen
from engine.types import Arm, Basis, Grid, Input, Normalised, Spectrograph, Waves

# Share of a model's pixels that a survey must cover, and how much wider than them its own may be.
LEAST_COVERED = 0.85
WIDEST = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One network of the literature or of ours, as data and functions.

    `normalise(spectra, spectrograph, input)` is the preparation up to the fitted scaling; `build(hyper,
    pixels, outputs)` gives the untrained network, whose dropouts are nn.Dropout modules.
    """

    name: str
    title: str
    reference: str
    input: Input
    hyper: Frozen
    normalise: Callable[[pa.Table, Spectrograph, Input], Normalised]
    build: Callable[[Frozen, int, int], nn.Sequential]


def handshake(architecture: Architecture, survey: str, spectrograph: Spectrograph) -> None:
    """PlanError, naming both sides, unless the model's input can be had from the survey's spectra."""
    want = architecture.input
    problems = []
    if (spectrograph.frame, want.frame) == ("rest", "observed"):
        problems.append("spectra are at rest, the model wants them as observed")
    if isinstance(want.grid, Grid):
        problems += _missing_light(want.grid, spectrograph.arms)
    elif _coefficients(spectrograph.arms) != want.grid.pixels:
        problems.append(f"the model wants {want.grid.pixels} coefficients of basis functions, not spectra")
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
    return (grid.high - grid.low) / (grid.pixels - 1)
