"""Where training stars lie in the spaces of labels and of the last hidden layer: centres and covariances."""

from itertools import combinations

import numpy as np
from scipy.stats import rankdata

from engine.support import Cloud, Neighbours, neighbours_of
from engine.types import Bools, Doubles, Floats

MOST_POINTS = 4_000
LEAST_POINTS = 50
WIDEST_LAYER = 2_048
HIDDEN_COMPONENTS = 32
# No direction is narrower than this, in units of the mean variance, so that no rounding looks far away.
LEAST_LABEL_VARIANCE, LEAST_HIDDEN_VARIANCE = 1e-4, 1e-3


def fit_labels(label_NL: Floats, known_NL: Bools) -> Cloud | None:
    """The cloud of training labels; None where a label is known of too few stars.

    Robust, and content with missing labels: medians, spreads from the median absolute deviation, and for each
    pair of labels the rank correlation of the stars that have both (2 sin(pi r / 6) for Gaussian variables,
    Pearson 1907). Directions in which such a matrix of pairs is not positive are raised.
    """
    if known_NL.sum(axis=0).min(initial=len(label_NL)) < LEAST_POINTS:
        return None
    x_NL = np.where(known_NL, label_NL, np.nan).astype(np.float64)
    centre_L = np.nanmedian(x_NL, axis=0)
    spread_L = 1.4826 * np.nanmedian(np.abs(x_NL - centre_L), axis=0)
    spread_L = np.where(spread_L > 0, spread_L, np.maximum(np.nanstd(x_NL, axis=0), 1e-6))
    variance_L, vector_LL = np.linalg.eigh(_correlation(x_NL))
    rounded_LL = vector_LL / np.sqrt(np.maximum(variance_L, LEAST_LABEL_VARIANCE))
    return Cloud(
        centre_L=centre_L.astype(np.float32), whitener_LL=(rounded_LL / spread_L[:, None]).astype(np.float32)
    )


def _correlation(x_NL: Doubles) -> Doubles:
    """Correlations of pairs of labels by ranks, 0 where too few stars have both."""
    correlation_LL = np.eye(x_NL.shape[1])
    for i, j in combinations(range(x_NL.shape[1]), 2):
        both_N = np.isfinite(x_NL[:, i]) & np.isfinite(x_NL[:, j])
        ranks = [rankdata(x_NL[both_N, k]) for k in (i, j)]
        if both_N.sum() >= LEAST_POINTS and all(np.ptp(rank_N) > 0 for rank_N in ranks):
            found = 2 * np.sin(np.pi / 6 * np.corrcoef(*ranks)[0, 1])
            correlation_LL[i, j] = correlation_LL[j, i] = found
    return correlation_LL


def fit_neighbours(label_NL: Floats, known_NL: Bools) -> Neighbours | None:
    """Training stars that have all labels, evenly picked in their order; None where there are too few."""
    whole_NL = label_NL[known_NL.all(axis=1)]
    if len(whole_NL) < LEAST_POINTS:
        return None
    chosen = np.linspace(0, len(whole_NL) - 1, min(MOST_POINTS, len(whole_NL))).astype(np.int64)
    return neighbours_of(whole_NL[chosen].astype(np.float32))


def fit_hidden(hidden_NH: Floats) -> Cloud | None:
    """The cloud of hidden activations; None for few stars or a layer too wide for its square.

    The largest principal components keep their variances; all that is outside them counts with the mean of
    the rest (probabilistic PCA: Tipping & Bishop 1999), so that a distance holds both what lies within the
    components and the residual from them.
    """
    stars, width = hidden_NH.shape
    if stars < LEAST_POINTS or not 0 < width <= WIDEST_LAYER:
        return None
    x_NH = hidden_NH.astype(np.float64)
    centre_H = x_NH.mean(axis=0)
    variance_H, vector_HH = np.linalg.eigh((x_NH - centre_H).T @ (x_NH - centre_H) / stars)
    rest = max(width - min(HIDDEN_COMPONENTS, stars // 10), 0)
    variance_H[:rest] = variance_H[:rest].mean() if rest else 0
    variance_H = np.maximum(variance_H, max(LEAST_HIDDEN_VARIANCE * variance_H.mean(), 1e-12))
    return Cloud(
        centre_L=centre_H.astype(np.float32),
        whitener_LL=(vector_HH / np.sqrt(variance_H)).astype(np.float32),
    )
