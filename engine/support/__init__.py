"""Is this star inside the training set? Limits per label, extra and side, and distances of several kinds."""

from engine.support.assess import assess, scores
from engine.support.fit import residuals, weights
from engine.support.pixels import PIXEL_SCORES, pixel_scores
from engine.support.records import Cloud, Neighbours, Subspace, Threshold, TrainingSet, neighbours_of
from engine.support.sides import ABOVE, BELOW, NO_LABEL

__all__ = [
    "ABOVE",
    "BELOW",
    "LEAST_GOOD_FRACTION",
    "NO_LABEL",
    "PIXEL_SCORES",
    "Cloud",
    "Neighbours",
    "Subspace",
    "Threshold",
    "TrainingSet",
    "assess",
    "neighbours_of",
    "pixel_scores",
    "residuals",
    "scores",
    "weights",
]

# With less than this share of good pixels a spectrum says too little to label.
LEAST_GOOD_FRACTION = 0.1
