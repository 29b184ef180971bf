"""Raw error -> calibrated error: sqrt((scale * raw)² + floor²), fitted on stars that training never saw."""

import numpy as np
from scipy.optimize import minimize

from engine.types import Doubles, Floats

ONE_SIGMA = 0.682689492137086


def fit_calibration(residual_N: Floats, raw_N: Floats, label_error_N: Floats) -> tuple[float, float]:
    """Scale and floor for which the residuals look like their errors.

    Gaussian likelihood gives the shape; both are then multiplied so that exactly 68.27 % of the stars
    lie within one error, which outliers cannot spoil. The labels' own errors are part of the residual
    and are taken out where they are known: what remains is the error of the prediction.
    """
    residual, raw, label = (np.asarray(x, np.float64) for x in (residual_N, raw_N, label_error_N))
    width = max(1.4826 * np.median(np.abs(residual)), 1e-12)
    inside = np.abs(residual - np.median(residual)) < 5 * width
    residual, raw, label = residual[inside], np.maximum(raw[inside], 1e-12), label[inside]

    def cost(log_parameters: Doubles) -> float:
        scale, floor = np.exp(log_parameters)
        variance = (scale * raw) ** 2 + floor**2 + label**2
        return float(np.sum(residual**2 / variance + np.log(variance)))

    start = np.log([width / np.median(raw) * 0.7, width * 0.5])
    bounds = [(start[0] - 6, start[0] + 6), (start[1] - 8, start[1] + 4)]
    scale, floor = np.exp(minimize(cost, start, method="L-BFGS-B", bounds=bounds).x)
    stretch = _stretch(residual, np.hypot(scale * raw, floor), label)
    return float(scale * stretch), float(floor * stretch)


def _stretch(residual: Doubles, error: Doubles, label: Doubles) -> float:
    """The factor on `error` at which 68.27 % of the residuals lie within hypot(factor * error, label)."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        within = np.mean(np.abs(residual) <= np.hypot(middle * error, label))
        low, high = (middle, high) if within < ONE_SIGMA else (low, middle)
    return high


def coverage(residual_N: Floats, error_N: Floats) -> float:
    """Share of stars within one error."""
    return float(np.mean(np.abs(residual_N) <= error_N)) if len(residual_N) else float("nan")
