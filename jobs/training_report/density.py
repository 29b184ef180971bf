"""Many stars on two axes: a two-dimensional histogram, points where stars are few, and running quantiles."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.patheffects import Normal, withStroke

from jobs.training_report.axes import VERMILION, plain_log

Limits = tuple[float, float]
# From a blue that stands out on white to one that is nearly black.
MAP = LinearSegmentedColormap.from_list("blues", ["#b9d4ec", "#4f97cb", "#0f4a8a", "#04152f"])
CELLS, LEAST_FOR_CELLS = 60, 300
LEAST_PER_POINT, MOST_POINTS = 20, 16
OUTLINE = [withStroke(linewidth=3.2, foreground="white"), Normal()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Quantiles of y at 16, 50 and 84 % in groups of stars of like x, at the median x of each."""

    x_B: np.ndarray
    low_B: np.ndarray
    median_B: np.ndarray
    high_B: np.ndarray


def running(x_N: np.ndarray, y_N: np.ndarray, *, log: bool = False) -> Running:
    """Running quantiles at equal steps of x, so that sparse ends show; empty where stars are too few."""
    groups = list(_groups(np.log10(x_N) if log else x_N))
    found = [(np.median(x_N[rows]), *np.percentile(y_N[rows], (16, 50, 84))) for rows in groups]
    x_B, low_B, median_B, high_B = np.array(found).reshape(-1, 4).T
    return Running(x_B=x_B, low_B=low_B, median_B=median_B, high_B=high_B)


def _groups(x_N: np.ndarray) -> Iterator[np.ndarray]:
    """Rows between equal steps of x; a step with too few stars joins the next, the last are left out."""
    if not len(x_N):
        return
    low, high = np.percentile(x_N, (0.1, 99.9))
    edges = np.linspace(low, high, MOST_POINTS + 1)
    step_N, waiting = np.digitize(x_N, edges[1:-1]), np.empty(0, int)
    for step in range(MOST_POINTS):
        waiting = np.append(waiting, np.flatnonzero(step_N == step))
        if len(waiting) >= LEAST_PER_POINT:
            yield waiting
            waiting = np.empty(0, int)


class Shade:
    """One scale of stars per cell for all panels of a figure."""

    def __init__(self) -> None:
        self.norm = LogNorm(vmin=1, vmax=2)
        self.mesh: QuadMesh | None = None

    def colorbar(self, axes: np.ndarray) -> None:
        """A bar beside these axes, where anything was shaded."""
        if self.mesh is not None:
            figure = axes.flat[0].figure
            bar = figure.colorbar(self.mesh, ax=axes, label="stars per cell", pad=0.01, aspect=40, shrink=0.8)
            plain_log(bar.ax.yaxis)


def draw_density(axes: Axes, x_N: np.ndarray, y_N: np.ndarray, x: Limits, y: Limits, shade: Shade) -> None:
    """Shade stars within the limits of axes, whose x may be logarithmic; say how many lie beyond."""
    if len(x_N) < LEAST_FOR_CELLS:
        size = 4 if len(x_N) > LEAST_PER_POINT else 9
        axes.plot(x_N, y_N, ".", ms=size, mew=0, color="#0f4a8a", alpha=0.6, rasterized=True)
    else:
        space = np.geomspace if axes.get_xscale() == "log" else np.linspace
        edges = (space(*x, CELLS + 1), np.linspace(*y, CELLS + 1))
        counts, x_edges, y_edges = np.histogram2d(x_N, y_N, bins=edges)
        shade.norm.vmax = max(float(shade.norm.vmax or 2), counts.max())
        cells = np.ma.masked_equal(counts.T, 0)
        shade.mesh = axes.pcolormesh(x_edges, y_edges, cells, cmap=MAP, norm=shade.norm, rasterized=True)
    axes.set(xlim=x, ylim=y)
    beyond = int(((x_N < x[0]) | (x_N > x[1]) | (y_N < y[0]) | (y_N > y[1])).sum())
    if beyond:
        axes.text(
            0.97, 0.03, f"{beyond} beyond", transform=axes.transAxes, ha="right", fontsize=7, color="0.3"
        )


def draw_running(axes: Axes, x_N: np.ndarray, y_N: np.ndarray) -> None:
    """The running median as a line, 16 and 84 % as dashes."""
    found = running(x_N, y_N, log=axes.get_xscale() == "log")
    for line_B, style in ((found.median_B, "-"), (found.low_B, "--"), (found.high_B, "--")):
        width = 1.8 if style == "-" else 1.2
        axes.plot(found.x_B, line_B, style, color=VERMILION, lw=width, path_effects=OUTLINE, zorder=4)


def span(x_N: np.ndarray, inner: float = 100.0) -> Limits:
    """Limits around nearly all values (`inner` per cent of them), with some room."""
    x_N = x_N[np.isfinite(x_N)]
    if not len(x_N):
        return 0.0, 1.0
    low, high = np.percentile(x_N, (50 - inner / 2, 50 + inner / 2))
    room = 0.04 * (high - low) or max(0.05 * abs(high), 0.05)
    return float(low - room), float(high + room)


def log_span(x_N: np.ndarray) -> Limits:
    """Limits around all values above 0 of a logarithmic axis."""
    low, high = span(np.log10(x_N[x_N > 0]))
    return 10.0**low, 10.0**high


def symmetric(*residuals: np.ndarray) -> Limits:
    """Limits around 0 for residuals: 98 % of the wildest set are inside, and outliers do not rule."""
    far = [float(np.percentile(np.abs(x_N), 98)) for x_N in residuals if len(x_N)]
    most = 1.15 * max(far, default=1.0) or 1.0
    return -most, most
