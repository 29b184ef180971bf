"""The Kiel diagram of the stars that were kept apart, within the training range."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from engine.models.card import Card
from engine.train.report import Validation
from jobs.training_report.axes import VERMILION, grid, note, symbol, written
from jobs.training_report.density import span


def draw_kiel(validation: Validation, card: Card) -> Iterator[Figure]:
    """True and predicted Teff and log g side by side, coloured by metallicity; none without both labels."""
    if not {"teff", "logg"} <= set(validation.names):
        return
    at = [validation.names.index(name) for name in ("teff", "logg")]
    colour = next((name for name in ("fe_h", "m_h") if name in validation.names), None)
    shown_N = (validation.known_NL[:, at] & np.isfinite(validation.centre_NL[:, at])).all(axis=1)
    if not shown_N.any():
        return
    figure, axes = grid(1, 2, 4.4, sharex=True, sharey=True)
    drawn = [
        _stars(panel, array_NL[shown_N], at, None if colour is None else validation.names.index(colour))
        for panel, array_NL in zip(axes[0], (known_truth(validation), validation.centre_NL), strict=True)
    ]
    _frame(axes, validation, card, at)
    axes[0, 0].set(title="true", ylabel=written("logg", validation.units[at[1]]))
    axes[0, 1].set(title="predicted")
    note(axes[0, 0], f"{int(shown_N.sum()):,} stars", low=True)
    if colour is not None:
        figure.colorbar(drawn[0], ax=axes, label=symbol(colour), pad=0.01, extend="both")
    yield figure


def known_truth(validation: Validation) -> np.ndarray:
    """True labels, NaN where a label is missing, whatever stands there."""
    return np.where(validation.known_NL, validation.truth_NL, np.nan)


def _stars(axes: Axes, array_NL: np.ndarray, at: list[int], colour: int | None) -> PathCollection:
    size = float(np.clip(6000 / len(array_NL), 1.5, 14))
    shade = {"color": "#0f4a8a"} if colour is None else {"c": array_NL[:, colour], "vmin": -2.0, "vmax": 0.5}
    if colour is not None:
        axes.scatter(*array_NL[:, at].T, s=size, c="0.7", linewidths=0, rasterized=True)
    return axes.scatter(*array_NL[:, at].T, s=size, linewidths=0, cmap="viridis", rasterized=True, **shade)


def _frame(axes: np.ndarray, validation: Validation, card: Card, at: list[int]) -> None:
    """Limits around all stars and the training range, which is drawn."""
    ranges = {label.name: (label.low, label.high) for label in card.labels}
    both = np.concatenate([known_truth(validation)[:, at], validation.centre_NL[:, at]])
    edges = [ranges.get(name, (None, None)) for name in ("teff", "logg")]
    known = [[edge for edge in pair if edge is not None] for pair in edges]
    limits = [span(np.append(x_N, pair)) for x_N, pair in zip(both.T, known, strict=True)]
    for panel in axes[0]:
        panel.set_xlabel(written("teff", validation.units[at[0]]))
        if all(known):
            (left, right), (low, high) = known
            box = {"fill": False, "ec": VERMILION, "ls": "--", "lw": 1.2}
            panel.add_patch(Rectangle((left, low), right - left, high - low, **box))
    axes[0, 0].set(xlim=limits[0][::-1], ylim=limits[1][::-1])
