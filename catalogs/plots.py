"""Two figures every abundance catalog is judged by: the Kiel diagram and [Mg/Fe] against [Fe/H].

Points come from DuckDB: all good rows, or means over cells of a fine grid where there are too many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from catalogs.read import Catalog, open_catalog
from catalogs.sql import name
from engine.errors import InputError

MOST_POINTS = 200_000
CELLS = 400
MAP = "viridis"


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """What is drawn: x, y and a third value, each of shape (N,), and how many rows they stand for."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    rows: int
    total: int


def kiel(path: Path | str, png: Path | str) -> None:
    """Write the Kiel diagram, coloured by [Fe/H], as PNG. InputError when a label is not in the catalog."""
    catalog = open_catalog(path)
    points = _points(catalog, ("teff", "logg", "fe_h"), "avg(z)")
    figure, axes = _axes()
    drawn = _scatter(axes, points, vmin=-1.5, vmax=0.5)
    figure.colorbar(drawn, label="[Fe/H]", pad=0.02, extend="both")
    axes.set(xlabel=r"$T_\mathrm{eff}$ [K]", ylabel=r"$\log g$ [dex]")
    axes.invert_xaxis()
    axes.invert_yaxis()
    _finish(figure, axes, catalog, points, png)


def abundance_plane(path: Path | str, png: Path | str, numerator: str = "mg_fe") -> None:
    """Write [X/Fe] against [Fe/H], coloured by the density of stars, as PNG. InputError as for kiel."""
    catalog = open_catalog(path)
    points = _points(catalog, ("fe_h", numerator, "fe_h"), "count(*)")
    figure, axes = _axes()
    drawn = _scatter(axes, points, norm=LogNorm(vmin=1, vmax=max(2.0, float(points.z.max(initial=2)))))
    figure.colorbar(drawn, label="Stars per cell", pad=0.02)
    element, _, base = numerator.partition("_")
    axes.set(xlabel="[Fe/H]", ylabel=f"[{element.capitalize()}/{base.capitalize()}]")
    axes.axhline(0, color="0.7", lw=0.8, zorder=0)
    axes.axvline(0, color="0.7", lw=0.8, zorder=0)
    _finish(figure, axes, catalog, points, png)


def _points(catalog: Catalog, labels: Sequence[str], colour: str) -> Points:
    """Good rows (not flag_bad, no label NULL). `colour` is an aggregate of z over a cell of the grid.

    Up to MOST_POINTS rows every row is a point: then a mean is its own value and a count its cell's.
    """
    if missing := [label for label in labels if label not in catalog.schema.names]:
        known = [label for label in catalog.schema.names if f"e_{label}" in catalog.schema.names]
        raise InputError(f"{catalog.path} has no {missing[0]}; its labels are {', '.join(known)}")
    x, y, z = (name(label) for label in labels)
    good = f"NOT flag_bad AND {x} IS NOT NULL AND {y} IS NOT NULL AND {z} IS NOT NULL"
    with catalog.duckdb() as con:
        con.execute(f"CREATE TEMP VIEW good AS SELECT {x} AS x, {y} AS y, {z} AS z FROM catalog WHERE {good}")
        rows, x0, x1, y0, y1 = con.execute(
            "SELECT count(*), min(x), max(x), min(y), max(y) FROM good"
        ).fetchall()[0]
        if not rows:
            return Points(x=np.zeros(0), y=np.zeros(0), z=np.zeros(0), rows=0, total=catalog.rows)
        cells = _cells(rows)
        cell = f"{_cell('x', x0, x1, cells)} AS i, {_cell('y', y0, y1, cells)} AS j"
        con.execute(f"CREATE TEMP VIEW celled AS SELECT *, {cell} FROM good")
        found = con.sql(_each_row(colour) if rows <= MOST_POINTS else _each_cell(colour)).fetchnumpy()
    return Points(x=found["x"], y=found["y"], z=found["c"].astype(float), rows=rows, total=catalog.rows)


def _cells(rows: int) -> int:
    """Cells along an axis: a few rows per cell where the stars are, CELLS at most."""
    return int(np.clip(np.sqrt(rows), 20, CELLS))


def _cell(axis: str, low: float, high: float, cells: int) -> str:
    width = (high - low) / cells or 1.0
    return f"CAST(floor(({axis} - {low!r}) / {width!r}) AS INTEGER)"


def _each_row(colour: str) -> str:
    value = "z" if colour == "avg(z)" else f"{colour} OVER (PARTITION BY i, j)"
    return f"SELECT x, y, {value} AS c FROM celled ORDER BY c, x, y"


def _each_cell(colour: str) -> str:
    return f"SELECT avg(x) AS x, avg(y) AS y, {colour} AS c FROM celled GROUP BY i, j ORDER BY c, x, y"


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.4, 4.2), layout="constrained", dpi=200)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.tick_params(which="both", direction="in", top=True, right=True)
    axes.minorticks_on()
    axes.xaxis.set_major_locator(MaxNLocator(6))
    return figure, axes


def _scatter(axes: Axes, points: Points, **scale: Any) -> Any:
    size = float(np.clip(9000 / max(1, len(points.x)), 0.6, 14))
    return axes.scatter(
        points.x, points.y, c=points.z, s=size, cmap=MAP, linewidths=0, rasterized=True, **scale
    )


def _finish(figure: Figure, axes: Axes, catalog: Catalog, points: Points, png: Path | str) -> None:
    about = catalog.manifest["catalog"]
    axes.set_title(
        f"{about['name']} {about['version']}: {points.rows:,} good of {points.total:,} rows", fontsize=10
    )
    if not points.rows:
        axes.text(0.5, 0.5, "no good row", transform=axes.transAxes, ha="center")
    figure.savefig(png)
