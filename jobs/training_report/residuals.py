"""Residuals along S/N, Teff and metallicity."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engine.models.card import Card
from engine.train.report import LabelStars, Validation
from jobs.training_report.axes import grid, nothing, pages, plain_log, symbol, unit_of, written
from jobs.training_report.density import Shade, draw_density, draw_running, log_span, span, symmetric


def draw_residuals(validation: Validation, card: Card) -> Iterator[Figure]:  # noqa: ARG001
    """A figure for every few labels: a row for each, a column for each thing to look along."""
    units = dict(zip(validation.names, validation.units, strict=True))
    along = validation.axes()
    for names in pages(validation.names):
        figure, axes = grid(len(names), len(along), 0.6 + 2.5 * len(names), sharex="col", sharey="row")
        shade = Shade()
        for row, name in zip(axes, names, strict=True):
            stars = validation.stars(name)
            for panel, (axis, x_N) in zip(row, along.items(), strict=True):
                _panel(panel, x_N, axis, stars, shade)
            row[0].set_ylabel(f"Δ {symbol(name)} [{unit_of(name, units[name])}]")
        for panel, axis in zip(axes[-1], along, strict=True):
            panel.set_xlabel(written(axis, units.get(axis, ""), "" if axis == "snr" else "true "))
        shade.colorbar(axes)
        yield figure


def _panel(axes: Axes, every_N: np.ndarray, axis: str, stars: LabelStars, shade: Shade) -> None:
    some = stars.take(np.isfinite(every_N[stars.row_N]))
    x_N = every_N[some.row_N]
    if not len(some):
        nothing(axes, "no star")
        return
    if axis == "snr":
        axes.set_xscale("log")
        plain_log(axes.xaxis)
    limits = log_span(every_N) if axis == "snr" else span(every_N, 99.8)
    draw_density(axes, x_N, some.residual_N, limits, symmetric(stars.residual_N), shade)
    axes.axhline(0, color="0.25", lw=0.9, zorder=3)
    draw_running(axes, x_N, some.residual_N)
