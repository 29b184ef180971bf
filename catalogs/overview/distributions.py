"""How the values of each label are distributed, and how many lie outside of the training range."""

import duckdb
import numpy as np

from catalogs.overview.bins import Bins, span
from catalogs.overview.known import limits_of, unit_of
from catalogs.overview.records import Distribution
from catalogs.read import Catalog
from catalogs.sql import name

STEPS = 1000
# Outliers of labels without a known range must not make bins too wide to tell anything.
NARROW, ROUNDS = 0.1, 3
ROOM = 0.06
BELOW, ABOVE = 1, 2


def distribution(con: duckdb.DuckDBPyConnection, catalog: Catalog, label: str) -> Distribution:
    """STEPS bins, within the training range and as far again on both sides, or around nearly all rows."""
    low, high = limits_of(catalog).get(label, (None, None))
    least, most = _extremes(con, label)
    if low is not None and high is not None:
        wide, room = high - low, ROOM * (high - low)
        least = max(low - wide, min(least, low) - room)
        most = min(high + wide, max(most, high) + room)
    bins = _bins(label, least, most)
    count_FB = _counts(con, label, bins)
    for _ in range(0 if low is not None else ROUNDS):
        first, last = span(count_FB.sum(axis=0)[1:-1], bins.edges)
        if last - first > NARROW * (bins.high - bins.low):
            break
        room = 0.5 * (last - first)
        bins = _bins(label, max(bins.low, first - room), min(bins.high, last + room))
        count_FB = _counts(con, label, bins)
    return _found(catalog, label, bins, count_FB)


def _found(catalog: Catalog, label: str, bins: Bins, count_FB: np.ndarray) -> Distribution:
    count_B = count_FB.sum(axis=0)
    low, high = limits_of(catalog).get(label, (None, None))
    below, above = (int(count_FB[side].sum()) for side in (BELOW, ABOVE))
    return Distribution(
        name=label,
        unit=unit_of(catalog, label),
        low=low,
        high=high,
        edges=bins.edges,
        count_B=count_B[1:-1],
        below=below,
        above=above,
        inside=int(count_B.sum()) - below - above,
        outside_frame=int(count_B[0] + count_B[-1]),
    )


def _rows(label: str) -> str:
    return f"NOT flag_bad AND isfinite({name(label)})"


def _extremes(con: duckdb.DuckDBPyConnection, label: str) -> tuple[float, float]:
    asked = f"SELECT min({name(label)}), max({name(label)}) FROM catalog WHERE {_rows(label)}"
    least, most = con.execute(asked).fetchall()[0]
    return (0.0, 1.0) if least is None else (float(least), float(most))


def _bins(label: str, low: float, high: float) -> Bins:
    """Bins with an upper edge that leaves the highest value inside."""
    beyond = high + max((high - low) * 1e-6, abs(high) * 1e-6, 1e-6)
    return Bins(sql=name(label), low=low, high=beyond, number=STEPS)


def _counts(con: duckdb.DuckDBPyConnection, label: str, bins: Bins) -> np.ndarray:
    """Rows by the label's own flag (0, below, above) and bin."""
    flag = name(f"flag_{label}")
    cells = con.sql(
        f"SELECT CASE WHEN {flag} IN ({BELOW}, {ABOVE}) THEN {flag} ELSE 0 END AS f, {bins.step} AS s, "
        f"count(*) AS n FROM catalog WHERE {_rows(label)} GROUP BY ALL"
    ).fetchnumpy()
    count_FB = np.zeros((3, bins.number + 2), np.int64)
    count_FB[cells["f"].astype(int), cells["s"].astype(int) + 1] = cells["n"]
    return count_FB
