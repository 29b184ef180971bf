"""Raw error -> calibrated error: sqrt((scale * raw)² + floor²) along S/N, from stars that training never saw.

Gaussian likelihood gives the shape, without outliers, which would rule it; scales and floors are then
multiplied so that 68.27 % of all stars lie within one error: a catalog's user cannot leave outliers out.

Calibration need not change with S/N, and few stars cannot tell whether it does: there are as many knots as
pay for themselves. Fits with one knot, two, … are compared by Schwarz's criterion: Akaike's, which asks
less of a knot, takes long tails for a change with S/N.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from engine.estimate import calibrated, log_snr
from engine.types import Bools, Calibration, Doubles, Floats

ONE_SIGMA = 0.682689492137086
# Two numbers per knot want so many stars each; more knots than these no instrument has asked for.
STARS_PER_KNOT = 100
MOST_KNOTS = 6
# The outermost knots stand so far inside the stars' range, where it is not single stars that decide.
EDGE = 0.05
# In robust standard deviations of stars of like S/N.
OUTLIER = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Residuals:
    """What N stars show of a label's errors: residual, raw error, the label's own error, and their S/N."""

    residual_N: Floats
    raw_N: Floats
    label_error_N: Floats
    snr_N: Floats

    def __len__(self) -> int:
        return len(self.residual_N)

    def take(self, rows: np.ndarray) -> "Residuals":
        """Some of the stars."""
        return Residuals(**{name: getattr(self, name)[rows] for name in self.__slots__})


def fit_calibration(found: Residuals) -> Calibration:
    """The calibration of one label, for which the residuals look like their errors at every S/N.

    The labels' own errors are part of the residual and are taken out where they are known: what remains is
    the error of the prediction. Where they alone explain the residuals nothing can be learnt of it, and the
    raw error stands: scale 1, floor 0.
    """
    most = int(np.clip(len(found) // STARS_PER_KNOT, 1, MOST_KNOTS))
    if _explained(found):
        return Calibration(snr=(_knots(found, 1)[0],), scale=(1.0,), floor=(0.0,))
    usual = found.take(~_outliers(found, most))
    fits = [_most_likely(usual, knots) for knots in _candidates(found, most)]
    price = 2 * np.log(len(usual))
    best = min(fits, key=lambda fit: fit.cost + price * len(fit.calibration.snr)).calibration
    return _stretched(best, _stretch(found, calibrated(found.raw_N, found.snr_N, best)))


def _explained(found: Residuals) -> bool:
    """Whether the labels' own errors alone are as large as the residuals."""
    return coverage(found.residual_N, found.label_error_N) >= ONE_SIGMA


def _candidates(found: Residuals, most: int) -> list[tuple[float, ...]]:
    """One knot, two, … up to `most`; one alone where some range of S/N can tell nothing."""
    if any(_explained(found.take(rows)) for rows in _shares(found, most)):
        most = 1
    candidates = [_knots(found, count) for count in range(1, most + 1)]
    return [knots for knots in candidates if len(set(knots)) == len(knots)]


def _knots(found: Residuals, count: int) -> tuple[float, ...]:
    """S/N of the knots: quantiles of the stars, the median where there is one."""
    at = np.linspace(EDGE, 1 - EDGE, count) if count > 1 else [0.5]
    return tuple(float(snr) for snr in np.exp(np.quantile(log_snr(found.snr_N), at)))


def _shares(found: Residuals, count: int) -> Sequence[np.ndarray]:
    """The stars in order of S/N, in equal shares."""
    return np.array_split(np.argsort(found.snr_N, kind="stable"), count)


def _outliers(found: Residuals, shares: int) -> Bools:
    """Which stars lie beyond five robust sigma among those of like S/N."""
    far_N = np.zeros(len(found), bool)
    for rows in _shares(found, shares):
        residual = found.residual_N[rows]
        far_N[rows] = np.abs(residual - np.median(residual)) >= OUTLIER * _width(residual)
    return far_N


def _width(residual_N: Floats) -> float:
    return max(float(1.4826 * np.median(np.abs(residual_N))), 1e-12)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """A calibration and -2 ln of its likelihood."""

    calibration: Calibration
    cost: float


def _most_likely(found: Residuals, knots: tuple[float, ...]) -> _Fit:
    """Scales and floors of greatest likelihood at these knots, bounded to sensible sizes."""
    residual, raw, label = (
        x.astype(np.float64) for x in (found.residual_N, found.raw_N, found.label_error_N)
    )
    at_NK = np.stack([np.interp(log_snr(found.snr_N), np.log(knots), row) for row in np.eye(len(knots))], 1)

    def cost(log_parameters: Doubles) -> tuple[float, Doubles]:
        scale_K, floor_K = np.exp(log_parameters).reshape(2, -1)
        scale, floor = at_NK @ scale_K, at_NK @ floor_K
        variance = (scale * raw) ** 2 + floor**2 + label**2
        slope = 1 / variance - residual**2 / variance**2
        by_scale, by_floor = (slope * 2 * scale * raw**2) @ at_NK, (slope * 2 * floor) @ at_NK
        value = float(np.sum(residual**2 / variance + np.log(variance)))
        return value, np.concatenate([by_scale * scale_K, by_floor * floor_K])

    width, typical = _width(found.residual_N), float(np.median(raw))
    scale, floor = np.log(0.7 * width / typical if typical > 0 else 1.0), np.log(0.5 * width)
    start = np.repeat([scale, floor], len(knots))
    bounds = np.repeat([(scale - 6, scale + 6), (floor - 8, floor + 4)], len(knots), axis=0)
    best = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds)
    scale_K, floor_K = np.exp(best.x).reshape(2, -1)
    fitted = Calibration(snr=knots, scale=tuple(scale_K.tolist()), floor=tuple(floor_K.tolist()))
    return _Fit(calibration=fitted, cost=float(best.fun))


def _stretch(found: Residuals, error_N: Doubles) -> float:
    """The factor on the errors at which 68.27 % of the residuals lie within hypot(factor * error, label)."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        within = coverage(found.residual_N, np.hypot(middle * error_N, found.label_error_N))
        low, high = (middle, high) if within < ONE_SIGMA else (low, middle)
    return high


def _stretched(fitted: Calibration, factor: float) -> Calibration:
    return Calibration(
        snr=fitted.snr,
        scale=tuple(factor * scale for scale in fitted.scale),
        floor=tuple(factor * floor for floor in fitted.floor),
    )


def coverage(residual_N: Floats | Doubles, error_N: Floats | Doubles) -> float:
    """Share of stars within one error."""
    return float(np.mean(np.abs(residual_N) <= error_N)) if len(residual_N) else float("nan")
