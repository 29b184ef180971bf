"""What follows S/N: errors of labels with their parts, and outcomes."""

import duckdb
import numpy as np

from catalogs.overview.bins import Bins, count, count_pairs, inner, quantiles, span
from catalogs.overview.known import good, unit_of
from catalogs.overview.records import OUTCOMES, ErrorBand, LabelErrors, Outcomes
from catalogs.read import Catalog
from catalogs.sql import name

# Bins of log10(S/N), fine ones to find what it spans; bins of log10(error); rows that a band needs.
STEPS, FINE, ERROR_STEPS, LEAST = 24, 700, 2400, 20
SNR_LIMITS, ERROR_LIMITS = (-2.0, 5.0), (-6.0, 6.0)
POINTS = (0.16, 0.5, 0.84)
PARTS = {"total": "", "model": "_model", "noise": "_noise"}
ANY_SNR = "snr > 0 AND isfinite(snr)"
LOG_SNR = "log10(CASE WHEN snr > 0 THEN snr END)"


def snr_bins(con: duckdb.DuckDBPyConnection) -> Bins | None:
    """Bins of log10(S/N) around nearly all rows that can be used, else all; None where no row has any."""
    fine = Bins(sql=LOG_SNR, low=SNR_LIMITS[0], high=SNR_LIMITS[1], number=FINE)
    for where in (f"{ANY_SNR} AND NOT flag_bad", ANY_SNR):
        counts = inner(count(con, where, fine))
        if counts.any():
            low, high = span(counts, fine.edges)
            return Bins(sql=LOG_SNR, low=low, high=high, number=STEPS)
    return None


def label_errors(
    con: duckdb.DuckDBPyConnection, catalog: Catalog, label: str, snr: Bins
) -> LabelErrors | None:
    """The errors of good rows in bins of S/N; None where no good row has any."""
    columns = {part: f"e_{label}{ending}" for part, ending in PARTS.items()}
    columns = {part: column for part, column in columns.items() if column in catalog.schema.names}
    where = f"{ANY_SNR} AND {good(label)}"
    axes = {part: _axis(name(column)) for part, column in columns.items()}
    pairs = count_pairs(con, where, snr, [*axes.values()])
    counted = dict(zip(axes, (count_SB[1:-1] for count_SB in pairs), strict=True))
    bands = {part: _band(count_SB, axes[part]) for part, count_SB in counted.items() if count_SB.any()}
    if "total" not in bands:
        return None
    return LabelErrors(
        name=label,
        unit=unit_of(catalog, label),
        snr_edges=10**snr.edges,
        rows=int(counted["total"].sum()),
        bands=bands,
    )


def _axis(error: str) -> Bins:
    """Bins of log10(error); an error of 0 is below all of them."""
    low, high = ERROR_LIMITS
    sql = f"CASE WHEN {error} > 0 THEN log10({error}) WHEN {error} = 0 THEN {low - 1} END"
    return Bins(sql=sql, low=low, high=high, number=ERROR_STEPS)


def _band(count_SB: np.ndarray, axis: Bins) -> ErrorBand:
    """Errors of 0, which are below every bin, count at its lower end."""
    edges = np.concatenate([axis.edges[:1], axis.edges, axis.edges[-1:]])
    low_S, median_S, high_S = 10 ** quantiles(count_SB, edges, POINTS, least=LEAST)
    return ErrorBand(low_S=low_S, median_S=median_S, high_S=high_S)


def outcomes(con: duckdb.DuckDBPyConnection, snr: Bins, rows: int) -> Outcomes:
    """Rows by outcome in bins of S/N; what lies beyond the bins counts in the outermost."""
    worst = "CASE WHEN flags & 1 <> 0 THEN 3 WHEN flag_bad THEN 2 WHEN flag_warn THEN 1 ELSE 0 END"
    kind = Bins(sql=worst, low=0, high=len(OUTCOMES), number=len(OUTCOMES))
    count_SO = count(con, ANY_SNR, snr, kind)[:, 1:-1]
    count_SO[1] += count_SO[0]
    count_SO[-2] += count_SO[-1]
    within_SO = count_SO[1:-1]
    return Outcomes(snr_edges=10**snr.edges, count_SO=within_SO, unknown=rows - int(within_SO.sum()))
