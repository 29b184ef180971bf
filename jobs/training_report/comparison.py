"""The survey's own pipeline above, the network below: residuals of the same stars on the same axes."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engine.models.card import Card
from engine.train.report import LabelStars, Spread, Validation
from engine.train.report.summary import spread, versus
from jobs.training_report.axes import grid, number, pages, symbol, unit_of, width_of, written
from jobs.training_report.density import Limits, Shade, draw_density, draw_running, span, symmetric


def draw_comparison(validation: Validation, card: Card) -> Iterator[Figure]:
    """A figure for every few labels that the reference pipeline gives; none without one."""
    units = dict(zip(validation.names, validation.units, strict=True))
    common = [name for name in validation.names if versus(validation.stars(name)) is not None]
    for names in pages(common):
        figure, axes = grid(2, len(names), 5.8, width=width_of(len(names)), sharex="col", sharey="col")
        shade = Shade()
        for column, name in zip(axes.T, names, strict=True):
            _pair(column, name, units[name], validation.stars(name), shade)
        for row, who in zip(axes, (validation.reference, card.name), strict=True):
            row[0].set_ylabel(f"{who}\n{row[0].get_ylabel()}")
        shade.colorbar(axes)
        yield figure


def _pair(column: np.ndarray, name: str, unit: str, stars: LabelStars, shade: Shade) -> None:
    assert stars.reference_N is not None
    stars = stars.take(np.isfinite(stars.reference_N))
    assert stars.reference_N is not None
    theirs_N, ours_N = stars.reference_N - stars.truth_N, stars.residual_N
    x, y = span(stars.truth_N, 99.8), symmetric(theirs_N, ours_N)
    for axes, residual_N in zip(column, (theirs_N, ours_N), strict=True):
        _panel(axes, stars.truth_N, residual_N, (x, y), shade)
        axes.set_title(_words(spread(residual_N), unit), loc="left", fontsize=8)
        axes.set_ylabel(f"Δ {symbol(name)} [{unit_of(name, unit)}]")
    column[1].set_xlabel(written(name, unit, "true "))


def _panel(
    axes: Axes, truth_N: np.ndarray, residual_N: np.ndarray, limits: tuple[Limits, Limits], shade: Shade
) -> None:
    draw_density(axes, truth_N, residual_N, *limits, shade)
    axes.axhline(0, color="0.25", lw=0.9, zorder=3)
    draw_running(axes, truth_N, residual_N)


def _words(found: Spread, unit: str) -> str:
    return (
        f"{found.stars:,} stars, bias {number(found.bias, unit)}\n"
        f"robust scatter {number(found.robust, unit)}, std. deviation {number(found.scatter, unit)}"
    )
