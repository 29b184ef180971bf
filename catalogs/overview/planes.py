"""Good rows on two labels: the Kiel diagram, and abundance ratios along metallicity."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import duckdb
import numpy as np

from catalogs.overview.bins import Bins, count, inner, quantiles, span
from catalogs.overview.known import good, metallicity
from catalogs.overview.records import Distribution, Plane, Ratio
from catalogs.sql import name

# Cells along an axis, bins of the third label for its median, and bins to find what a ratio spans.
FEWEST, CELLS, MEDIAN_BINS, RATIO_STEPS = 16, 80, 100, 800
RATIO_LIMITS = (-4.0, 4.0)
ROOM = 0.04

Known = Mapping[str, Distribution]


def kiel(con: duckdb.DuckDBPyConnection, known: Known) -> Plane | None:
    """log g over Teff, with the median metallicity of each cell if there is one; None without both labels."""
    if not {"teff", "logg"} <= known.keys():
        return None
    z = metallicity([*known])
    labels = ("teff", "logg") if z is None else ("teff", "logg", z)
    where = good(*labels)
    cells = _cells(known, labels)
    x, y = (_around(known[label], cells) for label in labels[:2])
    if z is None:
        return _plane("teff", "logg", (x, y), count(con, where, x, y))
    low, high = span(known[z].count_B, known[z].edges)
    third = Bins(sql=name(z), low=low, high=high, number=MEDIAN_BINS)
    count_XYZ = count(con, where, x, y, third)
    # What lies beyond the bins of metallicity counts for the median: it lies at their ends.
    within_CB = count_XYZ[1:-1, 1:-1].reshape(cells * cells, MEDIAN_BINS + 2)
    edges = np.concatenate([third.edges[:1], third.edges, third.edges[-1:]])
    median_C = quantiles(within_CB, edges, (0.5,))[0]
    found = _plane("teff", "logg", (x, y), count_XYZ.sum(axis=2))
    return replace(found, z=z, median_XY=median_C.reshape(cells, cells))


def ratio_plane(con: duckdb.DuckDBPyConnection, known: Known, ratio: Ratio) -> Plane:
    """[X/Fe] over [Fe/H]."""
    labels = [one for one in (ratio.column, ratio.minuend, ratio.base) if one]
    where = good(*dict.fromkeys(labels))
    cells = _cells(known, labels)
    x = _around(known[ratio.base], cells)
    if ratio.column is not None:
        y = _around(known[ratio.column], cells)
    else:
        assert ratio.minuend is not None
        difference = f"({name(ratio.minuend)} - {name(ratio.base)})"
        wide = Bins(sql=difference, low=RATIO_LIMITS[0], high=RATIO_LIMITS[1], number=RATIO_STEPS)
        y = _step_to(difference, *span(inner(count(con, where, wide)), wide.edges), cells)
    return _plane(ratio.base, ratio.name, (x, y), count(con, where, x, y))


def _plane(x: str, y: str, bins: tuple[Bins, Bins], counts: np.ndarray) -> Plane:
    within_XY = inner(counts)
    rows = int(counts.sum())
    return Plane(
        x=x,
        y=y,
        x_edges=bins[0].edges,
        y_edges=bins[1].edges,
        count_XY=within_XY,
        rows=rows,
        beyond=rows - int(within_XY.sum()),
    )


def _cells(known: Known, labels: Iterable[str]) -> int:
    """Cells along an axis: a few rows in each where the stars are, CELLS at most."""
    rows = min(known[label].inside for label in labels)
    return int(np.clip(np.sqrt(rows), FEWEST, CELLS))


def _around(found: Distribution, cells: int) -> Bins:
    """Cells around nearly all rows, and within the training range, as good ones are."""
    low, high = span(found.count_B, found.edges)
    low = low if found.low is None else max(low, found.low)
    high = high if found.high is None else min(high, found.high)
    return _step_to(name(found.name), low, max(low, high), cells)


def _step_to(sql: str, low: float, high: float, cells: int) -> Bins:
    room = ROOM * (high - low) or max(0.05 * abs(high), 0.05)
    return Bins(sql=sql, low=low - room, high=high + room, number=cells)
