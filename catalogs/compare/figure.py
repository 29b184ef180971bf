"""Residuals along S/N, Teff and [Fe/H]: a row of panels per label, counts of stars on a logarithmic scale."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from catalogs.compare.join import Joined
from catalogs.compare.measure import histogram
from catalogs.compare.records import Bin, LabelReport, Report
from engine.errors import InputError

TITLES = {"snr": "S/N", "teff": r"$T_\mathrm{eff}$ [K]", "fe_h": "[Fe/H]"}
MAP = "viridis"
# How far from zero is shown: beyond the bias, so many robust scatters.
SHOWN = 5


def residuals(report: Report, joined: Joined, png: Path) -> None:
    """Write the residuals of every label that any star has, as PNG; InputError where that cannot be done."""
    labels = [(number, label) for number, label in enumerate(report.labels) if label.bins]
    figure = Figure(figsize=(9.6, 0.8 + 2.1 * max(1, len(labels))), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    panels = figure.subplots(max(1, len(labels)), len(TITLES), squeeze=False, sharey="row")
    drawn: list[Any] = []
    for row, (number, label) in zip(panels, labels, strict=False):
        half = _half(label)
        drawn += [_panel(axes, joined, number, axis, half) for axes, axis in zip(row, TITLES, strict=True)]
        unit = f" [{label.unit}]" if label.unit else ""
        row[0].set_ylabel(f"{label.name}{unit}", fontsize=8)
        for axes, axis in zip(row, TITLES, strict=True):
            _trend(axes, label, axis)
    for axes, title in zip(panels[-1], TITLES.values(), strict=True):
        axes.set_xlabel(title)
    _scale(figure, panels, [one for one in drawn if one is not None])
    figure.suptitle(f"{report.first} minus {report.second}: {report.matched:,} pairs", fontsize=9)
    try:
        figure.savefig(png)
    except (OSError, ValueError) as error:
        raise InputError(f"--plot {png}: cannot be written: {error}") from error


def _half(label: LabelReport) -> float:
    every = label.bins[0]
    return abs(every.bias) + SHOWN * (every.robust or every.scatter) or 1.0


def _panel(axes: Axes, joined: Joined, number: int, axis: str, half: float) -> Any:
    """One panel; what was drawn, or None where there is nothing to draw."""
    axes.tick_params(which="both", direction="in", top=True, right=True, labelsize=7)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.axhline(0, color="0.6", lw=0.8, zorder=0)
    if (found := histogram(joined, number, axis, half)) is None:
        axes.text(0.5, 0.5, "no star", transform=axes.transAxes, ha="center", fontsize=7)
        return None
    axes.set(xlim=found.x_edges[[0, -1]], ylim=(-half, half))
    return axes.pcolormesh(
        found.x_edges, found.y_edges, found.count_XY.T, norm=LogNorm(vmin=1), cmap=MAP, rasterized=True
    )


def _scale(figure: Figure, panels: Any, drawn: list[Any]) -> None:
    """One scale of counts for all panels."""
    if drawn:
        most = max(2.0, *(float(one.get_array().max()) for one in drawn))
        for one in drawn:
            one.set_norm(LogNorm(vmin=1, vmax=most))
        figure.colorbar(drawn[0], ax=panels, label="pairs per cell", pad=0.01, aspect=40)


def _trend(axes: Axes, label: LabelReport, axis: str) -> None:
    """Mean and robust scatter in the bins of the table, where there are ten stars or more."""
    low, high = axes.get_xlim()
    shown = [one for one in label.bins if one.axis == axis and one.stars >= 10]
    at = [min(max(_middle(one), low), high) for one in shown]
    bias, robust = [one.bias for one in shown], [one.robust for one in shown]
    axes.errorbar(at, bias, robust, fmt="o", color="crimson", ms=2.5, lw=0.9)


def _middle(one: Bin) -> float:
    known = [edge for edge in (one.low, one.high) if edge is not None]
    return sum(known) / len(known)
