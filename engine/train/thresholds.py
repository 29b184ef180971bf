"""Thresholds of scores from held-out stars, as functions of S/N."""

import numpy as np

from engine.support import Threshold
from engine.types import Doubles, Floats

FALSE_ALARMS = 0.01
"""Of each kind of score. About one held-out star in twenty exceeds one or another of them."""
LEAST_STARS, LEAST_GROUP, GROUPS = 100, 20, 8
KNOTS = (0.02, 0.25, 0.5, 0.75, 0.98)
"""Quantiles of S/N at which a threshold is kept."""
NARROWEST = 0.1
"""Ratio of spreads that small groups cannot tell from each other."""


def fit_threshold(score_N: Floats, snr_N: Floats, *, least: float = 1e-6) -> Threshold | None:
    """What 1 % of such stars exceed, whatever their S/N; None where no star has a score.

    log(score) is taken to have a median and a spread that follow log(S/N), linearly through groups of equal
    S/N: a mean over pixels hardly varies in faint stars, and more in bright ones, where the model's errors
    show. One quantile of (score - median) / spread then holds for all. It is that of a new star (k / (n + 1),
    Weibull 1939), not of the held-out ones, which a hundred stars would let exceed twice as often. With few
    stars a threshold is one number.
    """
    good_N = np.isfinite(score_N) & np.isfinite(snr_N) & (snr_N > 0)
    if not good_N.any():
        return None
    log_N, x_N = (
        np.log(np.maximum(score_N[good_N], least).astype(np.float64)),
        np.log(snr_N[good_N].astype(np.float64)),
    )
    if len(log_N) < LEAST_STARS or np.ptp(log_N) == 0:
        return Threshold(snr=(1.0,), limit=(float(np.exp(_new_star(log_N))),))
    centre_N, spread_N = _trends(log_N, x_N)
    far, knots = _new_star((log_N - centre_N) / spread_N), np.quantile(x_N, KNOTS)
    order = np.argsort(x_N, kind="stable")
    limits = [np.interp(knots, x_N[order], v_N[order]) for v_N in (centre_N, spread_N)]
    knots, first = np.unique(knots, return_index=True)
    limit_S = np.exp(limits[0] + far * limits[1])[first]
    return Threshold(snr=tuple(np.exp(knots).tolist()), limit=tuple(np.maximum(limit_S, least).tolist()))


def _new_star(x_N: Doubles) -> float:
    return float(np.quantile(x_N, 1 - FALSE_ALARMS, method="weibull"))


def _trends(log_N: Doubles, x_N: Doubles) -> tuple[Doubles, Doubles]:
    """The median of stars with this log(S/N), and the spread above it, shape (N,) each.

    The spread is that of the outermost groups beyond them: a line would run away there.
    """
    groups = np.array_split(np.argsort(x_N, kind="stable"), min(GROUPS, len(x_N) // LEAST_GROUP))
    at = np.array([np.median(x_N[group]) for group in groups])
    centre_N = np.polyval(np.polyfit(at, [np.median(log_N[group]) for group in groups], 1), x_N)
    above = np.array([np.quantile((log_N - centre_N)[group], 0.84) for group in groups])
    line = np.polyfit(at, np.log(np.maximum(above, max(NARROWEST * above.max(), 1e-6))), 1)
    spread_N = np.exp(np.polyval(line, np.clip(x_N, at[0], at[-1])))
    return np.asarray(centre_N, np.float64), np.asarray(spread_N, np.float64)
