"""The contract of a model: how spectra become inputs, and how its network is built."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
from torch import nn

from engine.errors import PlanError
from engine.prepare.coadd import union_grid
from engine.spec import Frozen
from engine.types import Grid, Normalised, Spectrograph


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One network of the literature or of ours, as data and functions.

    `normalise(spectra, spectrograph, grid)` is the preparation up to the fitted scaling; `build(hyper,
    pixels, outputs)` gives the untrained network, whose dropouts are nn.Dropout modules.
    """

    name: str
    title: str
    reference: str
    grid: Grid
    frame: Literal["observed", "rest"]
    medium: Literal["vacuum", "air"]
    hyper: Frozen
    normalise: Callable[[pa.Table, Spectrograph, Grid], Normalised]
    build: Callable[[Frozen, int, int], nn.Sequential]


def handshake(architecture: Architecture, survey: str, spectrograph: Spectrograph) -> None:
    """PlanError, naming both sides, unless the model's input can be had from the survey's spectra."""
    problems = []
    if spectrograph.medium != architecture.medium:
        problems.append(f"wavelengths are in {spectrograph.medium}, the model wants {architecture.medium}")
    if (spectrograph.frame, architecture.frame) == ("rest", "observed"):
        problems.append("spectra are at rest, the model wants them as observed")
    have, want = union_grid(spectrograph.arms), architecture.grid
    if have.start > want.start + want.step or have.stop < want.stop - want.step:
        problems.append(
            f"spectra span {have.start:.0f}-{have.stop:.0f} A, "
            f"the model wants {want.start:.0f}-{want.stop:.0f} A"
        )
    if problems:
        raise PlanError(
            f"survey {survey} cannot feed model {architecture.name}: {'; '.join(problems)}. "
            "Choose another bundle, or see `abundant models`."
        )
