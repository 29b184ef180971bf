"""Small regressors, and how uncertain a scatter is.

scikit-learn has stronger ones; three predictors do not need them, and it would be one more dependency.
Legend: N stars, Q predictors, T terms of a polynomial, K neighbours.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from engine.types import Bools, Doubles

Predict = Callable[[Doubles], Doubles]

RESAMPLED = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Predictors and what is to be predicted."""

    x_NQ: Doubles
    y_N: Doubles

    def take(self, rows_N: Bools) -> "Sample":
        """Some of the stars."""
        return Sample(x_NQ=self.x_NQ[rows_N], y_N=self.y_N[rows_N])


def fit_best(training: Sample, validation: Sample) -> tuple[str, Predict]:
    """The regressor, fitted on training stars, that errs least on the validation stars, and its name.

    By the mean absolute residual: outliers do not rule it, and it is far less noisy than a median.
    """
    centre_Q, scale_Q = training.x_NQ.mean(axis=0), np.maximum(training.x_NQ.std(axis=0), 1e-12)
    scaled = Sample(x_NQ=(training.x_NQ - centre_Q) / scale_Q, y_N=training.y_N)
    fitted = {name: fit(scaled) for name, fit in REGRESSORS.items()}
    x_NQ = (validation.x_NQ - centre_Q) / scale_Q
    name = min(fitted, key=lambda name: np.mean(np.abs(fitted[name](x_NQ) - validation.y_N)))
    return name, lambda x_NQ: fitted[name]((x_NQ - centre_Q) / scale_Q)


def polynomial(sample: Sample, degree: int) -> Predict:
    """Least squares with every product of so many predictors or fewer."""
    weight_T = np.linalg.lstsq(_terms(sample.x_NQ, degree), sample.y_N, rcond=None)[0]
    return lambda x_NQ: _terms(x_NQ, degree) @ weight_T


def _terms(x_NQ: Doubles, degree: int) -> Doubles:
    padded_NQ = np.column_stack([np.ones(len(x_NQ)), x_NQ])
    chosen = combinations_with_replacement(range(padded_NQ.shape[1]), degree)
    return np.stack([padded_NQ[:, list(columns)].prod(axis=1) for columns in chosen], axis=1)


def neighbours(sample: Sample, most: int) -> Predict:
    """The mean of so many nearest training stars, or of all where there are fewer."""
    tree, counted = KDTree(sample.x_NQ), min(most, len(sample.y_N))
    # For one neighbour the tree gives no axis of neighbours.
    return lambda x_NQ: sample.y_N[tree.query(x_NQ, k=counted)[1]].reshape(len(x_NQ), -1).mean(axis=1)


REGRESSORS: Mapping[str, Callable[[Sample], Predict]] = {
    "linear": partial(polynomial, degree=1),
    "quadratic": partial(polynomial, degree=2),
    "cubic": partial(polynomial, degree=3),
    **{f"{most} nearest": partial(neighbours, most=most) for most in (5, 10, 20, 40, 80)},
}


def robust_scatter(residual_N: Doubles) -> float:
    """1.4826 times the median absolute deviation from the median, as on a bundle's card."""
    return float(1.4826 * np.median(np.abs(residual_N - np.median(residual_N))))


def scatter_error(residual_N: Doubles, star_N: npt.NDArray[np.intp]) -> float:
    """The 1-sigma error of the robust scatter, from resampled stars: the spectra of one stay together."""
    generator = np.random.default_rng(0)
    stars, star_N = np.unique(star_N, return_inverse=True)
    even = np.full(len(stars), 1 / len(stars))
    counts = (generator.multinomial(len(stars), even) for _ in range(RESAMPLED))
    return float(np.std([robust_scatter(np.repeat(residual_N, count[star_N])) for count in counts]))
