"""Histograms in SQL: DuckDB sends counts of cells, never rows, so what comes back has a size known before."""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Equal steps of an expression: `number` of them from `low` to `high`, the upper edge excluded.

    Number -1 is all below, and `number` all above.
    """

    sql: str
    low: float
    high: float
    number: int

    @property
    def edges(self) -> np.ndarray:
        """Where the steps end."""
        return self.low + self.width * np.arange(self.number + 1)

    @property
    def width(self) -> float:
        """Of one step."""
        return (self.high - self.low) / self.number

    @property
    def step(self) -> str:
        """SQL of the number of a row's step; NULL where the expression is."""
        place = f"floor((CAST({self.sql} AS DOUBLE) - {self.low!r}) / {self.width!r})"
        # DuckDB's greatest() and least() overlook NULL.
        clamped = f"CAST(greatest(-1, least({self.number}, {place})) AS SMALLINT)"
        return f"CASE WHEN ({self.sql}) IS NOT NULL THEN {clamped} END"


def count(con: duckdb.DuckDBPyConnection, where: str, *axes: Bins) -> np.ndarray:
    """Rows of the catalog in every cell, int64, with one more cell at both ends of each axis for the rest."""
    steps = ", ".join(f"{axis.step} AS s{at}" for at, axis in enumerate(axes))
    return _dense(con, f"SELECT {steps}, count(*) AS n FROM catalog WHERE {where} GROUP BY ALL", axes)


def count_pairs(
    con: duckdb.DuckDBPyConnection, where: str, first: Bins, others: Sequence[Bins]
) -> list[np.ndarray]:
    """As `count` of (first, other) for each of the others, all in one scan; their NULLs are left out."""
    steps = ", ".join(axis.step + f" AS s{at}" for at, axis in enumerate((first, *others)))
    sets = ", ".join(f"(s0, s{at})" for at in range(1, len(others) + 1))
    columns = ", ".join(f"s{at}" for at in range(len(others) + 1))
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE pairs AS SELECT {columns}, count(*) AS n, "
        f"grouping_id({columns}) AS part FROM (SELECT {steps} FROM catalog WHERE {where}) "
        f"GROUP BY GROUPING SETS ({sets})"
    )
    every = (1 << (len(others) + 1)) - 1
    found = []
    for at, other in enumerate(others, start=1):
        part = every - (1 << len(others)) - (1 << (len(others) - at))
        asked = f"SELECT s0, s{at} AS s1, n FROM pairs WHERE part = {part} AND s{at} IS NOT NULL"
        found.append(_dense(con, asked, (first, other)))
    return found


def _dense(con: duckdb.DuckDBPyConnection, sql: str, axes: Sequence[Bins]) -> np.ndarray:
    cells = con.sql(sql).fetchnumpy()
    counts = np.zeros([axis.number + 2 for axis in axes], np.int64)
    counts[tuple(cells[f"s{at}"].astype(int) + 1 for at in range(len(axes)))] = cells["n"]
    return counts


def inner(counts: np.ndarray) -> np.ndarray:
    """The cells without those at the ends."""
    return counts[(slice(1, -1),) * counts.ndim]


def span(count_B: np.ndarray, edges: np.ndarray, share: float = 0.998) -> tuple[float, float]:
    """Edges between which the middle share of the rows lies; all of the bins where there are no rows."""
    total = count_B.sum()
    if not total:
        return float(edges[0]), float(edges[-1])
    up_B = np.cumsum(count_B) / total
    first = int(np.searchsorted(up_B, (1 - share) / 2, side="right"))
    last = int(np.searchsorted(up_B, (1 + share) / 2 - 1e-12, side="left"))
    return float(edges[first]), float(edges[min(last, len(count_B) - 1) + 1])


def quantiles(count_SB: np.ndarray, edges: np.ndarray, points: Sequence[float], least: int = 1) -> np.ndarray:
    """Quantiles of each row of counts, within bins by straight lines: (points, S); NaN below `least` rows."""
    found = np.full((len(points), len(count_SB)), np.nan)
    for at, count_B in enumerate(count_SB):
        if count_B.sum() >= max(1, least):
            up = np.concatenate([[0], np.cumsum(count_B)]) / count_B.sum()
            found[:, at] = np.interp(points, up, edges)
    return found
