"""Spectra on their way to a network."""

from dataclasses import dataclass

import pyarrow as pa

from engine.types.arrays import Bools, Floats, Ints
from engine.types.work import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalised:
    """N continuum-normalised spectra on a model's grid, and what preparing them found out.

    Where `ivar_NP` is 0 the pixel is missing and its flux is 1. `lit_fraction_N` is the share of good pixels
    before the continuum, `good_fraction_N` after it. `snr_N` is the median over good pixels of
    flux * sqrt(ivar), per pixel; `nonfinite_N` and `spikes_N` count pixels that were masked for being NaN
    or infinite, and for being unphysically far from the continuum.
    """

    flux_NP: Floats
    ivar_NP: Floats
    snr_N: Floats
    lit_fraction_N: Floats
    good_fraction_N: Floats
    nonfinite_N: Ints
    spikes_N: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What N stars have of a network's extras, E numbers each in the order of `names`: NaN where missing.

    An array takes as many of the numbers as it is long, all under its name. `saturated_N` tells where a
    published formula clips what goes into it.
    """

    names: tuple[str, ...]
    value_NE: Floats
    saturated_N: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a network sees of N stars: `x_NI`, pixels first, then extras.

    A row with `usable_N` False carries zeros there; its labels must not be used.
    """

    x_NI: Floats
    usable_N: Bools
    spectra: Normalised
    extras: Extras


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What was read for one task: spectra, or the reason why there are none.

    When `failure` is set, `spectra` holds the columns without arrays of the rows whose ids could
    still be read, possibly none.
    """

    task: Task
    spectra: pa.Table
    failure: str | None = None
    seen: str = ""
    """Sizes and dates of the task's files when they were read."""
    inputs: Inputs | None = None
    """What was prepared with the read; None where the worker that labels prepares."""
    prepare_seconds: float = 0.0
    """How long preparing took, where it was done with the read."""
    wait_seconds: float = 0.0
    """How long the batch lay between reader and worker."""
