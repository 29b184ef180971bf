"""Raw error -> calibrated error: sqrt((scale * raw)² + floor²), fitted on stars that training never saw."""

import numpy as np
from scipy.optimize import minimize

from engine.types import Doubles, Floats

ONE_SIGMA = 0.682689492137086


def fit_calibration(residual_N: Floats, raw_N: Floats, label_error_N: Floats) -> tuple[float, float]:
    """Scale and floor for which the residuals look like their errors.

    Gaussian likelihood gives the shape, without the stars beyond five robust sigma, which would rule it;
    both are then multiplied so that 68.27 % of all stars lie within one error, since a catalog's user
    cannot leave those out. The labels' own errors are part of the residual and are taken out where they
    are known: what remains is the error of the prediction. Where they alone explain the residuals nothing
    can be learnt of it, and the raw error stands: (1, 0).
    """
    residual, raw, label = (np.asarray(x, np.float64) for x in (residual_N, raw_N, label_error_N))
    raw = np.maximum(raw, 1e-12)
    if np.mean(np.abs(residual) <= label) >= ONE_SIGMA:
        return 1.0, 0.0
    width = max(1.4826 * np.median(np.abs(residual)), 1e-12)
    inside = np.abs(residual - np.median(residual)) < 5 * width
    scale, floor = _most_likely(residual[inside], raw[inside], label[inside])
    stretch = _stretch(residual, np.hypot(scale * raw, floor), label)
    return float(scale * stretch), float(floor * stretch)


def _most_likely(residual: Doubles, raw: Doubles, label: Doubles) -> Doubles:
    """Scale and floor of greatest likelihood, bounded to sensible sizes."""

    def cost(log_parameters: Doubles) -> float:
        scale, floor = np.exp(log_parameters)
        variance = (scale * raw) ** 2 + floor**2 + label**2
        return float(np.sum(residual**2 / variance + np.log(variance)))

    width = 1.4826 * np.median(np.abs(residual))
    start = np.log([width / np.median(raw) * 0.7, width * 0.5])
    bounds = [(start[0] - 6, start[0] + 6), (start[1] - 8, start[1] + 4)]
    return np.exp(minimize(cost, start, method="L-BFGS-B", bounds=bounds).x)


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
