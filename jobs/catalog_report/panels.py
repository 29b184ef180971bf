"""Planes of two labels: the Kiel diagram twice, and abundance ratios."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from catalogs.overview.records import Distribution, Plane
from jobs.catalog_report.frame import SMALL, WIDE, counted, frame
from jobs.catalog_report.words import sign, titled
from jobs.training_report.axes import VERMILION

MAP = "viridis"
# Iron is shown where nearly all stars are; the ends of the bar say that there are more.
INNER = (2, 98)


def draw_kiel(plane: Plane, labels: Sequence[Distribution]) -> Figure:
    """The Kiel diagram coloured by the median of `z` in each cell."""
    assert plane.median_XY is not None and plane.z is not None
    figure, [axes] = frame(WIDE, bar=True)
    known = plane.median_XY[np.isfinite(plane.median_XY)]
    low, high = np.percentile(known, INNER) if len(known) else (0, 1)
    cells = np.ma.masked_invalid(plane.median_XY.T)
    norm = Normalize(vmin=low, vmax=max(high, low + 1e-3))
    mesh = axes.pcolormesh(plane.x_edges, plane.y_edges, cells, cmap=MAP, norm=norm, rasterized=True)
    figure.colorbar(mesh, ax=axes, label=f"median {sign(plane.z)}", pad=0.03, extend="both")
    _as_kiel(axes, plane, labels)
    return figure


def draw_kiel_density(plane: Plane, labels: Sequence[Distribution]) -> Figure:
    """The Kiel diagram coloured by the number of rows in each cell."""
    figure, [axes] = frame(WIDE, bar=True)
    _density(figure, axes, plane)
    _as_kiel(axes, plane, labels)
    return figure


def draw_ratio(plane: Plane) -> Figure:
    """[X/Fe] over [Fe/H], coloured by the number of rows in each cell."""
    figure, [axes] = frame(SMALL, bar=True)
    _density(figure, axes, plane)
    axes.axhline(0, color="0.5", lw=0.8, zorder=0)
    axes.axvline(0, color="0.5", lw=0.8, zorder=0)
    axes.set(xlabel=sign(plane.x), ylabel=sign(plane.y))
    _ends(axes, plane)
    return figure


def _density(figure: Figure, axes: Axes, plane: Plane) -> None:
    cells = np.ma.masked_equal(plane.count_XY.T, 0)
    norm = LogNorm(vmin=1, vmax=max(2, int(plane.count_XY.max())))
    mesh = axes.pcolormesh(plane.x_edges, plane.y_edges, cells, cmap=MAP, norm=norm, rasterized=True)
    bar = figure.colorbar(mesh, ax=axes, label="rows per cell", pad=0.03)
    counted(bar.ax.yaxis, norm.vmax or 1)


def _as_kiel(axes: Axes, plane: Plane, labels: Sequence[Distribution]) -> None:
    """Hot stars left, giants up; the training range as a dashed box as far as it is in view."""
    by_name = {label.name: label for label in labels}
    x, y = by_name["teff"], by_name["logg"]
    axes.set(xlabel=titled("teff", x.unit), ylabel=titled("logg", y.unit))
    if x.low is not None and x.high is not None and y.low is not None and y.high is not None:
        box = Rectangle((x.low, y.low), x.high - x.low, y.high - y.low, fill=False, ec=VERMILION, ls="--")
        axes.add_patch(box)
    _ends(axes, plane)
    axes.invert_xaxis()
    axes.invert_yaxis()


def _ends(axes: Axes, plane: Plane) -> None:
    axes.set(xlim=plane.x_edges[[0, -1]], ylim=plane.y_edges[[0, -1]])
    beyond = f", {plane.beyond:,} beyond" if plane.beyond else ""
    axes.set_title(f"{plane.rows:,} good rows{beyond}", fontsize=8, loc="left")
