"""The numbers of a validation: bias, scatter and honesty of errors, overall and in bins.

Legend: N stars.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import ndtr

from engine.train.calibrate import coverage
from engine.train.report.validation import LabelStars, Validation
from engine.types import Doubles, Floats

TWO_SIGMA = 1.959963984540054
TENTHS = 10
# Round and the same for every training, so that two reports can be compared; the metal-poor stay visible.
METALS = (-np.inf, -2.5, -2, -1.5, -1, -0.5, 0, np.inf)
EDGES: Mapping[str, tuple[float, ...]] = {
    "snr": (-np.inf, 10, 20, 30, 50, 100, 200, np.inf),
    "teff": (-np.inf, 4000, 4500, 5000, 5500, 6000, 7000, np.inf),
    "fe_h": METALS,
    "m_h": METALS,
}
# Of a median and of a mean of Gaussian residuals: sqrt(pi / 2).
MEDIAN_TO_MEAN = 1.2533


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Residuals: their median and its error, standard deviation (ddof 0), 1.4826 MAD; NaN if unknown."""

    stars: int
    bias: float
    e_bias: float
    scatter: float
    robust: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Honesty:
    """Shares of residuals within one raw error, and within 1 and 1.96 of what is expected (0.683, 0.95).

    `pull` is the robust width of residual / expected, 1 is right; `pit` the shares by tenths of the
    probability integral transform, 0.1 each is right. What is expected is the calibrated error with the
    label's own.
    """

    raw_68: float
    within_68: float
    within_95: float
    pull: float
    pit: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The stars from `low` to below `high` of `axis`: snr, or a true label; an outermost edge is infinite."""

    axis: str
    low: float
    high: float
    spread: Spread
    honesty: Honesty


@dataclass(frozen=True, slots=True, kw_only=True)
class Versus:
    """Network and reference pipeline against the truth, on the stars that both have."""

    network: Spread
    reference: Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """One label; `missing` stars have it but got no result."""

    name: str
    unit: str
    missing: int
    label_error: float
    spread: Spread
    honesty: Honesty
    bins: tuple[Bin, ...]
    versus: Versus | None


def summary(validation: Validation) -> tuple[LabelSummary, ...]:
    """Every label in its order; bins along `validation.axes()` that have a star."""
    pairs = zip(validation.names, validation.units, strict=True)
    return tuple(_label(validation, name, unit) for name, unit in pairs)


def _label(validation: Validation, name: str, unit: str) -> LabelSummary:
    stars = validation.stars(name)
    known = int(validation.known_NL[:, validation.names.index(name)].sum())
    return LabelSummary(
        name=name,
        unit=unit,
        missing=known - len(stars),
        label_error=_median(stars.label_error_N),
        spread=spread(stars.residual_N),
        honesty=honesty(stars),
        bins=tuple(_bins(validation, stars)),
        versus=versus(stars),
    )


def spread(residual_N: Floats | Doubles) -> Spread:
    """Bias and scatter of residuals; a scatter needs two stars."""
    residual_N = residual_N.astype(np.float64)
    stars, few = len(residual_N), len(residual_N) < 2
    robust = float("nan") if few else robust_width(residual_N)
    return Spread(
        stars=stars,
        bias=_median(residual_N),
        e_bias=float("nan") if few else MEDIAN_TO_MEAN * robust / np.sqrt(stars),
        scatter=float("nan") if few else float(np.std(residual_N)),
        robust=robust,
    )


def honesty(stars: LabelStars) -> Honesty:
    """Whether residuals are as large as their errors say."""
    residual_N, expected_N = stars.residual_N, stars.expected_N
    counts, _ = np.histogram(transform(stars), bins=TENTHS, range=(0.0, 1.0))
    pulls_N = residual_N / np.maximum(expected_N, 1e-12)
    return Honesty(
        raw_68=coverage(residual_N, stars.raw_error_N),
        within_68=coverage(residual_N, expected_N),
        within_95=coverage(residual_N, TWO_SIGMA * expected_N),
        pull=robust_width(pulls_N) if len(stars) > 1 else float("nan"),
        pit=tuple(float(count) / max(len(stars), 1) for count in counts),
    )


def transform(stars: LabelStars) -> Doubles:
    """The probability integral transform: what a Gaussian error gives as chance of a lesser truth."""
    return ndtr(-stars.residual_N.astype(np.float64) / np.maximum(stars.expected_N, 1e-12))


def versus(stars: LabelStars) -> Versus | None:
    """Network and reference on common stars; None without a reference, or a star in common."""
    if stars.reference_N is None or not np.isfinite(stars.reference_N).any():
        return None
    common = stars.take(np.isfinite(stars.reference_N))
    assert common.reference_N is not None
    return Versus(network=spread(common.residual_N), reference=spread(common.reference_N - common.truth_N))


def robust_width(x_N: Floats | Doubles) -> float:
    """1.4826 times the median distance from the median: a Gaussian's sigma, whatever the outliers."""
    return float(1.4826 * np.median(np.abs(x_N - np.median(x_N))))


def _bins(validation: Validation, stars: LabelStars) -> Iterator[Bin]:
    for axis, value_N in validation.axes().items():
        x_N = value_N[stars.row_N]
        for low, high in pairwise(EDGES[axis]):
            some = stars.take((x_N >= low) & (x_N < high))
            if len(some):
                found = {"spread": spread(some.residual_N), "honesty": honesty(some)}
                yield Bin(axis=axis, low=low, high=high, **found)


def _median(x_N: Floats | Doubles) -> float:
    return float(np.median(x_N)) if len(x_N) else float("nan")
