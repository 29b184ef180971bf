"""Whether errors are honest: how often they hold the truth, and where in them it lies."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri
from scipy.stats import binom

from engine.models.card import Card
from engine.train.report import LabelStars, Validation
from engine.train.report.summary import TENTHS, honesty, transform
from jobs.training_report.axes import BLUE, VERMILION, grid, nothing, pages, symbol, width_of

LEVELS = np.linspace(0.02, 0.98, 49)
# What 95 % of well calibrated sets of as many stars lie between.
BAND = (0.025, 0.975)


def draw_honesty(validation: Validation, card: Card) -> Iterator[Figure]:  # noqa: ARG001
    """A figure for every few labels: coverage above, probability integral transform below."""
    for names in pages(validation.names):
        figure, axes = grid(2, len(names), 5.8, width=width_of(len(names)))
        for column, name in zip(axes.T, names, strict=True):
            _pair(column[0], column[1], name, validation.stars(name))
        yield figure


def _pair(above: Axes, below: Axes, name: str, stars: LabelStars) -> None:
    above.set(title=symbol(name), xlabel="nominal share", ylabel="share of stars within")
    below.set(xlabel="PIT: chance of a lower truth", ylabel="stars / expected")
    if not len(stars):
        nothing(above, "no star with this label")
        nothing(below, "")
        return
    _coverage(above, stars)
    _pit(below, stars)


def _coverage(axes: Axes, stars: LabelStars) -> None:
    """Observed against nominal share of central intervals, which should be the diagonal."""
    count = len(stars)
    low, high = (binom.ppf(edge, count, LEVELS) / count for edge in BAND)
    axes.fill_between(LEVELS, low, high, color="0.85", lw=0, label="95 % of honest sets")
    axes.plot((0, 1), (0, 1), color="0.5", lw=0.8)
    sigmas = ndtri(0.5 + LEVELS / 2)
    for error_N, colour, style, label in (
        (stars.expected_N, BLUE, "-", "calibrated error"),
        (stars.raw_error_N, VERMILION, "--", "raw error"),
    ):
        pull_N = np.abs(stars.residual_N) / np.maximum(error_N, 1e-12)
        axes.plot(LEVELS, (pull_N[:, None] <= sigmas).mean(axis=0), style, color=colour, lw=1.5, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(fontsize=8, loc="upper left", frameon=False)
    found = honesty(stars)
    shares = f"{count:,} stars\nwithin error {found.within_68:.1%}\nwithin 1.96 errors {found.within_95:.1%}"
    axes.text(0.97, 0.04, shares, transform=axes.transAxes, ha="right", va="bottom", fontsize=8)


def _pit(axes: Axes, stars: LabelStars) -> None:
    """The histogram of the transform over what is expected: flat at one for honest errors."""
    expected = len(stars) / TENTHS
    low, high = (binom.ppf(edge, len(stars), 1 / TENTHS) / expected for edge in BAND)
    axes.axhspan(float(low), float(high), color="0.85", lw=0)
    axes.axhline(1, color="0.5", lw=0.8)
    counts, edges = np.histogram(transform(stars), bins=TENTHS, range=(0.0, 1.0))
    axes.stairs(counts / expected, edges, color=BLUE, lw=1.5, baseline=None)
    axes.set(xlim=(0, 1), ylim=(0, max(2.0, 1.1 * counts.max() / expected)))
