"""Where stars stand to the training set: sides of its ranges, and scores with their thresholds."""

import numpy as np

from engine.support.pixels import pixel_scores
from engine.support.records import TrainingSet
from engine.support.sides import sides
from engine.types import Bits, Bools, Draws, Estimates, Floats, Inputs, Label, Limits, Support

NEAREST = 10
"""Training stars that the distance to the neighbours is a mean over."""


def assess(
    inputs: Inputs, draws: Draws, estimates: Estimates, *, labels: tuple[Label, ...], known: TrainingSet
) -> Support:
    """Where N stars stand to the training set; what a bundle does not remember marks no star."""
    found = scores(inputs, draws, estimates, known)
    limits = {name: limit.at(inputs.spectra.snr_N) for name, limit in known.thresholds.items()}
    centres = zip(labels, estimates.centre_NL.T, estimates.known_NL.T, strict=True)
    return Support(
        labels={label.name: sides(x_N, known_N, label.low, label.high) for label, x_N, known_N in centres},
        extras={limit.name: _extra(inputs, limit) for limit in known.limits},
        scores=found,
        beyond={name: score_N > limits[name] for name, score_N in found.items() if name in limits},
    )


def scores(inputs: Inputs, draws: Draws, estimates: Estimates, known: TrainingSet) -> dict[str, Floats]:
    """Distances by the names of their columns, shape (N,); NaN where a star has none.

    In the space of labels (the network's own: derived ones say nothing new) two: from the whole of the
    training stars, and from the nearest of them, since stars keep to the narrow bands of their evolution and
    leave most of the space between empty. In the last hidden layer one, after Lee et al. 2018 (NeurIPS 31):
    what the network makes of a spectrum, before it is squeezed into labels.
    """
    found = {} if known.subspace is None else pixel_scores(inputs, known.subspace)
    if known.labels is not None:
        x_NL, known_N = _labels(estimates, len(known.labels.centre_L))
        found["support_mahalanobis"] = np.where(known_N, known.labels.distance(x_NL), np.float32(np.nan))
    if known.neighbours is not None:
        x_NL, known_N = _labels(estimates, len(known.neighbours.scale_L))
        away_N = known.neighbours.distance(x_NL, NEAREST)
        found["support_neighbours"] = np.where(known_N, away_N, np.float32(np.nan))
    if known.hidden is not None:
        away_N = known.hidden.distance(draws.hidden_NH)
        found["support_hidden"] = np.where(inputs.usable_N, away_N, np.float32(np.nan))
    return found


def _labels(estimates: Estimates, count: int) -> tuple[Floats, Bools]:
    """The network's own labels, zeros for a star that lacks one, and which stars have them all."""
    x_NL, known_NL = estimates.centre_NL[:, :count], estimates.known_NL[:, :count]
    known_N = np.asarray(np.all(known_NL & np.isfinite(x_NL), axis=1))
    return np.where(known_N[:, None], x_NL, np.float32(0)), known_N


def _extra(inputs: Inputs, limit: Limits) -> Bits:
    x_N = inputs.extras.value_NE[:, inputs.extras.names.index(limit.name)]
    return sides(x_N, ~np.isnan(x_N), limit.low, limit.high)
