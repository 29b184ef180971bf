"""Draws -> labels in physical units with errors.

Centre = mean over draws; model variance = variance over draws (ddof 0); noise variance = mean over
draws of exp(s) where the network predicts log-variance s. With several networks the draws of all are
pooled, which is the mean of the variances within plus the variance of the means between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.prepare.scale import Affine
from engine.types import Bools, Calibration, Derived, Doubles, Draws, Estimates, Floats, Label

Noise = Literal["exact", "astronn"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """What turns a network's outputs into labels: `labels` are its own, then the derived ones.

    `noise` says how predicted variances are averaged: see `spec.Sampling`.
    """

    scale: Affine
    labels: tuple[Label, ...]
    derived: tuple[Derived, ...] = ()
    noise: Noise = "exact"


def estimate(draws: Draws, usable_N: Bools, snr_N: Floats, labelling: Labelling) -> Estimates:
    """Centre and 1-sigma errors of every label, derived ones last, shape (N, L).

    A derived label is formed in every draw, so that what its two parts share cancels; its predicted
    noise is the sum of theirs, as if that were independent.
    """
    labels = labelling.labels
    names = [label.name for label in labels]
    value_KNL = label_draws(draws, labelling)
    centre_NL, model_NL = value_KNL.mean(axis=0), value_KNL.std(axis=0)
    noise_NL = None
    if (variance_NL := predicted_variance(draws, labelling)) is not None:
        noise_NL = np.sqrt(_with_sums(variance_NL, names, labelling.derived))
    raw_NL = model_NL if noise_NL is None else np.hypot(model_NL, noise_NL)
    calibrated = all(label.calibration is not None for label in labels)
    return Estimates(
        centre_NL=centre_NL.astype(np.float32),
        model_NL=model_NL.astype(np.float32),
        noise_NL=None if noise_NL is None else noise_NL.astype(np.float32),
        total_NL=calibrate(raw_NL, snr_N, labels) if calibrated else raw_NL.astype(np.float32),
        known_NL=np.repeat(usable_N[:, None], centre_NL.shape[1], axis=1),
        calibrated=calibrated,
    )


def label_draws(draws: Draws, labelling: Labelling) -> Doubles:
    """Every label in every draw, in physical units, derived ones last, shape (K, N, L)."""
    names = [label.name for label in labelling.labels]
    value_KNL = labelling.scale.invert(draws.value_KNL).astype(np.float64)
    return _with_differences(value_KNL, names, labelling.derived)


def predicted_variance(draws: Draws, labelling: Labelling) -> Doubles | None:
    """The variance that a network predicts for its own labels, in physical units, shape (N, outputs)."""
    if draws.log_variance_KNL is None:
        return None
    return _predicted(draws.log_variance_KNL, labelling.noise) * labelling.scale.scale**2


def _predicted(log_variance_KNL: Floats, noise: Noise) -> Doubles:
    """The variance that K draws predict, shape (N, L)."""
    s_KNL = log_variance_KNL.astype(np.float64)
    return np.exp(s_KNL.mean(axis=0)) if noise == "astronn" else np.exp(s_KNL).mean(axis=0)


def calibrate(raw_NL: Doubles, snr_N: Floats, labels: Sequence[Label]) -> Floats:
    """The calibrated error of each label at the star's S/N, shape (N, L)."""
    total_NL = np.empty(raw_NL.shape, np.float32)
    for i, label in enumerate(labels):
        assert label.calibration is not None
        total_NL[:, i] = calibrated(raw_NL[:, i], snr_N, label.calibration)
    return total_NL


def calibrated(raw_N: Floats | Doubles, snr_N: Floats, fitted: Calibration) -> Doubles:
    """sqrt((scale * raw)² + floor²), scale and floor at the star's S/N."""
    scale_N, floor_N = (
        np.interp(log_snr(snr_N), np.log(fitted.snr), values) for values in (fitted.scale, fitted.floor)
    )
    return np.hypot(raw_N * scale_N, floor_N)


def log_snr(snr_N: Floats) -> Doubles:
    """What scale and floor are linear in. An unusable star has no S/N; its error is never shown."""
    return np.log(np.maximum(snr_N.astype(np.float64), 1e-3))


def _with_differences(value: Doubles, names: Sequence[str], derived: Sequence[Derived]) -> Doubles:
    extra = [value[..., names.index(d.minuend)] - value[..., names.index(d.subtrahend)] for d in derived]
    return np.concatenate([value, *(part[..., None] for part in extra)], axis=-1)


def _with_sums(variance: Doubles, names: Sequence[str], derived: Sequence[Derived]) -> Doubles:
    extra = [
        variance[..., names.index(d.minuend)] + variance[..., names.index(d.subtrahend)] for d in derived
    ]
    return np.concatenate([variance, *(part[..., None] for part in extra)], axis=-1)
