"""What a bundle remembers of the stars it was trained on; every part may be missing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import KDTree

from engine.types import Doubles, Floats, Limits


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subspace:
    """What spectra of the training set look like: a mean and M principal components of scaled pixels.

    `scale_P` is 0 where the model does not use a pixel, which then counts as missing. `scatter_P` is the
    spread around them that noise does not explain; `scale_P` turns ivar of normalised flux into that of
    scaled pixels. It is equal to itself alone, so that what is made of it can be kept.
    """

    mean_P: Floats
    components_MP: Floats
    scatter_P: Floats
    scale_P: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """A centre and a matrix under which the training stars around it become round, with unit variance."""

    centre_L: Floats
    whitener_LL: Floats

    def distance(self, x_NL: Floats) -> Floats:
        """Mahalanobis (1936) distances, shape (N,): Euclidean ones of whitened points."""
        away_NL = x_NL.astype(np.float64) - self.centre_L
        return np.linalg.norm(away_NL @ self.whitener_LL.astype(np.float64), axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """Labels of T training stars, in a tree once each is divided by its own inter-quartile range."""

    point_TL: Floats
    scale_L: Doubles
    tree: KDTree

    def distance(self, x_NL: Floats, count: int) -> Floats:
        """Mean distance to the nearest `count` training stars, in inter-quartile ranges, shape (N,)."""
        away_NK, _ = self.tree.query(x_NL / self.scale_L, k=min(count, len(self.point_TL)))
        return away_NK.reshape(len(x_NL), -1).mean(axis=1).astype(np.float32)


def neighbours_of(point_TL: Floats) -> Neighbours:
    """The tree of these labels, shape (T, L); a label that does not vary counts in its own unit."""
    low_L, high_L = np.percentile(point_TL.astype(np.float64), (25, 75), axis=0)
    scale_L = np.where(high_L > low_L, high_L - low_L, 1.0)
    return Neighbours(point_TL=point_TL, scale_L=scale_L, tree=KDTree(point_TL / scale_L))


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What only few held-out stars exceed, at ascending values of S/N.

    Between them log(limit) follows log(S/N) linearly; beyond them it stays.
    """

    snr: tuple[float, ...]
    limit: tuple[float, ...]

    def at(self, snr_N: Floats) -> Doubles:
        """The limit of stars with this S/N, shape (N,)."""
        log_N = np.log(np.maximum(snr_N.astype(np.float64), 1e-3))
        return np.exp(np.interp(log_N, np.log(self.snr), np.log(self.limit)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """What a bundle remembers of the stars it was trained on.

    `labels` and `neighbours` lie in the space of the network's own labels, `hidden` in that of its last
    hidden layer. `thresholds` are by the name of the score.
    """

    limits: tuple[Limits, ...] = ()
    subspace: Subspace | None = None
    labels: Cloud | None = None
    neighbours: Neighbours | None = None
    hidden: Cloud | None = None
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
