"""Predicted against true labels, with what is left below."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engine.models.card import Card
from engine.train.report import LabelStars, Spread, Validation
from engine.train.report.summary import spread
from jobs.training_report.axes import grid, note, nothing, number, pages, unit_of, width_of, written
from jobs.training_report.density import Shade, draw_density, draw_running, span, symmetric


def draw_predicted(validation: Validation, card: Card) -> Iterator[Figure]:  # noqa: ARG001
    """A figure for every few labels: a pair of panels for each."""
    units = dict(zip(validation.names, validation.units, strict=True))
    for names in pages(validation.names):
        figure, axes = grid(
            2, len(names), 5.6, width=width_of(len(names)), sharex="col", height_ratios=(2.4, 1)
        )
        shade = Shade()
        for column, name in zip(axes.T, names, strict=True):
            _pair(column[0], column[1], name, units[name], validation.stars(name), shade)
        shade.colorbar(axes)
        yield figure


def _pair(above: Axes, below: Axes, name: str, unit: str, stars: LabelStars, shade: Shade) -> None:
    above.set(title=written(name, unit), ylabel=written(name, unit, "predicted "))
    below.set(xlabel=written(name, unit, "true "), ylabel=f"residual [{unit_of(name, unit)}]")
    if not len(stars):
        nothing(above, "no star with this label")
        nothing(below, "")
        return
    both = span(np.concatenate([stars.truth_N, stars.centre_N]), 99.8)
    draw_density(above, stars.truth_N, stars.centre_N, both, both, shade)
    above.plot(both, both, color="0.25", lw=0.9, zorder=3)
    note(above, _words(spread(stars.residual_N), unit), low=len(stars) < 2)
    draw_density(below, stars.truth_N, stars.residual_N, both, symmetric(stars.residual_N), shade)
    below.axhline(0, color="0.25", lw=0.9, zorder=3)
    draw_running(below, stars.truth_N, stars.residual_N)


def _words(found: Spread, unit: str) -> str:
    if found.stars < 2:
        return "1 star"
    return (
        f"{found.stars:,} stars\nbias {number(found.bias, unit)} ± {number(found.e_bias, unit)}\n"
        f"robust scatter {number(found.robust, unit)}\nstd. deviation {number(found.scatter, unit)}"
    )
