"""Pairs -> numbers per bin, and counts for figures: aggregated in DuckDB, a few numbers come to Python."""

from dataclasses import dataclass

import numpy as np

from catalogs.compare.join import Joined
from catalogs.compare.records import Bin
from catalogs.sql import text

EDGES: dict[str, tuple[float, ...]] = {
    "": (),
    "snr": (10, 20, 30, 50, 100, 200),
    "teff": (4000, 4500, 5000, 5500, 6000, 6500),
    "fe_h": (-2.5, -2, -1.5, -1, -0.5, 0),
}
# A median absolute deviation of a Gaussian is 1 / 1.4826 of its standard deviation.
GAUSSIAN = 1.4826
FAR = 5
# Far below any label's digits: differences that are all the same have no outliers.
ROUNDING = 1e-9
CELLS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts of pairs over an axis (x) and the difference of a label (y), shape (CELLS, CELLS)."""

    x_edges: np.ndarray
    y_edges: np.ndarray
    count_XY: np.ndarray


def measured(joined: Joined, number: int) -> tuple[Bin, ...]:
    """The bins of a label that hold a star, all stars first."""
    return tuple(one for axis in EDGES for one in _bins(joined, number, axis))


def _bins(joined: Joined, number: int, axis: str) -> list[Bin]:
    edges = EDGES[axis]
    place = " + ".join(f"({axis} >= {edge})::INTEGER" for edge in edges) or "0"
    known = f"AND {axis} IS NOT NULL" if axis else ""
    values = (
        f"SELECT {place} AS bin, d{number} AS d, p{number} AS p FROM {_pairs(joined)} "
        f"WHERE d{number} IS NOT NULL {known}"
    )
    middle = (
        f"SELECT bin, count(*) AS n, avg(d) AS bias, stddev_pop(d) AS scatter, median(d) AS middle, "
        f"{GAUSSIAN} * mad(d) AS robust, median(p) AS pull, {GAUSSIAN} * mad(p) AS pulls FROM v GROUP BY bin"
    )
    rows = joined.connection.execute(
        f"WITH v AS MATERIALIZED ({values}), s AS ({middle}) "
        "SELECT bin, any_value(n), any_value(bias), any_value(scatter), any_value(robust), any_value(pull), "
        f"any_value(pulls), avg((abs(d - middle) > {FAR} * robust + {ROUNDING})::INTEGER) "
        "FROM v JOIN s USING (bin) GROUP BY bin ORDER BY bin"
    ).fetchall()
    return [_bin(axis, edges, row) for row in rows]


def _bin(axis: str, edges: tuple[float, ...], row: tuple[float, ...]) -> Bin:
    at, stars, bias, scatter, robust, pull_bias, pull_scatter, outliers = row
    bounds = (None, *edges, None)
    return Bin(
        axis=axis,
        low=bounds[int(at)],
        high=bounds[int(at) + 1],
        stars=int(stars),
        bias=bias,
        scatter=scatter,
        robust=robust,
        pull_bias=pull_bias,
        pull_scatter=pull_scatter,
        outliers=outliers,
    )


def histogram(joined: Joined, number: int, axis: str, half: float) -> Histogram | None:
    """Counts of differences within ±`half` along an axis, without its outermost percent; None without any."""
    known = f"FROM {_pairs(joined)} WHERE {axis} IS NOT NULL AND abs(d{number}) <= {half!r}"
    [(low, high)] = joined.connection.execute(
        f"SELECT quantile_cont({axis}, 0.005), quantile_cont({axis}, 0.995) {known}"
    ).fetchall()
    if low is None:
        return None
    low, high = (low, high) if high > low else (low - 1.0, low + 1.0)
    width, height = (high - low) / CELLS, 2 * half / CELLS
    cells = joined.connection.execute(
        f"SELECT least(floor(({axis} - {low!r}) / {width!r}), {CELLS - 1})::INTEGER AS i, "
        f"least(floor((d{number} + {half!r}) / {height!r}), {CELLS - 1})::INTEGER AS j, count(*) AS c "
        f"{known} AND {axis} BETWEEN {low!r} AND {high!r} GROUP BY i, j"
    ).fetchnumpy()
    count_XY = np.zeros((CELLS, CELLS), np.int64)
    count_XY[np.asarray(cells["i"]), np.asarray(cells["j"])] = np.asarray(cells["c"])
    x_edges, y_edges = np.linspace(low, high, CELLS + 1), np.linspace(-half, half, CELLS + 1)
    return Histogram(x_edges=x_edges, y_edges=y_edges, count_XY=count_XY)


def _pairs(joined: Joined) -> str:
    return f"read_parquet({text(joined.pairs)}, hive_partitioning = false)"
