"""What a bundle remembers of its training stars, so that it can tell when a star is unlike them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from engine.draw import bank_of, draw
from engine.estimate import Labelling, estimate
from engine.models.architecture import Architecture
from engine.support import Threshold, TrainingSet, scores
from engine.train.clouds import fit_hidden, fit_labels, fit_neighbours
from engine.train.dataset import PARTS, LabelledSpectra
from engine.train.scalers import inputs_of
from engine.train.subspace import fit_subspace
from engine.train.thresholds import fit_threshold
from engine.train.validate import Fitted
from engine.types import Floats, Label, Limits

HELD_OUT = ("validation", "calibration")
ROWS_AT_ONCE = 1024
LEAST_GAP_SHARE = 0.01
"""Shorter gaps are never told of, share of the pixels."""


def remember(architecture: Architecture, fitted: Fitted, stars: LabelledSpectra) -> TrainingSet:
    """Ranges, clouds and the subspace of spectra from training stars, thresholds from held-out ones.

    Held out are validation and calibration stars: no weight has seen them. The test stars stay untouched.
    """
    training = stars.part("train")
    known = TrainingSet(
        limits=_limits(architecture, training),
        subspace=fit_subspace(training, fitted.scalers),
        labels=fit_labels(training.label_NL, training.known_NL),
        neighbours=fit_neighbours(training.label_NL, training.known_NL),
        hidden=fit_hidden(_hidden(fitted, training)),
    )
    held_out = stars.take(np.isin(stars.part_N, [PARTS.index(name) for name in HELD_OUT]))
    return replace(known, thresholds=_thresholds(fitted, held_out, known))


def _hidden(fitted: Fitted, stars: LabelledSpectra) -> Floats:
    """The last hidden layer of the first network, as a run sees it, shape (N, H)."""
    x_NI = torch.from_numpy(inputs_of(stars, fitted.scalers).x_NI)
    with torch.inference_mode():
        return np.concatenate([fitted.networks[0].hidden(x).numpy() for x in x_NI.split(ROWS_AT_ONCE)])


def _thresholds(fitted: Fitted, held_out: LabelledSpectra, known: TrainingSet) -> Mapping[str, Threshold]:
    """By the name of the score; from the same draws that a run will use."""
    inputs = inputs_of(held_out, fitted.scalers)
    banks = [bank_of(network, fitted.sampling, torch.device("cpu")) for network in fitted.networks]
    draws, snr_N = draw(banks, inputs), held_out.snr_N
    unnamed = tuple(Label(name="", unit="", ucd="", description="") for _ in fitted.scalers.labels.scale)
    labelling = Labelling(scale=fitted.scalers.labels, labels=unnamed, noise=fitted.sampling.noise)
    found = scores(inputs, draws, estimate(draws, inputs.usable_N, snr_N, labelling), known)
    gap = LEAST_GAP_SHARE * held_out.flux_NP.shape[1]
    limits = {
        name: fit_threshold(score_N, snr_N, least=gap if name == "largest_gap" else 1e-6)
        for name, score_N in found.items()
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def _limits(architecture: Architecture, training: LabelledSpectra) -> tuple[Limits, ...]:
    limits, first = [], 0
    for extra in architecture.extras:
        values_N = training.extra_NE[:, first]
        if extra.limited:
            limits.append(Limits(name=extra.name, low=float(values_N.min()), high=float(values_N.max())))
        first += extra.size
    return tuple(limits)


def remembered_arrays(known: TrainingSet) -> dict[str, Floats]:
    """The arrays of a bundle that hold it."""
    arrays = {}
    if known.subspace is not None:
        parts = {"mean": "mean_P", "components": "components_MP", "scatter": "scatter_P"}
        arrays |= {f"support.{name}": np.asarray(getattr(known.subspace, at)) for name, at in parts.items()}
    if known.neighbours is not None:
        arrays["support.label_points"] = known.neighbours.point_TL
    for name, cloud in (("label", known.labels), ("hidden", known.hidden)):
        if cloud is not None:
            arrays |= {
                f"support.{name}_centre": cloud.centre_L,
                f"support.{name}_whitener": cloud.whitener_LL,
            }
    return arrays
