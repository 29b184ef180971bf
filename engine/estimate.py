"""Draws -> labels in physical units with errors.

Centre = mean over draws; model variance = variance over draws (ddof 0); noise variance = mean over
draws of exp(s) where the network predicts log-variance s. With several networks the draws of all are
pooled, which is the mean of the variances within plus the variance of the means between them.
"""

from collections.abc import Sequence

import numpy as np

from engine.prepare.scale import Affine
from engine.types import Bools, Derived, Doubles, Draws, Estimates, Floats, Label


def estimate(
    draws: Draws, usable_N: Bools, *, scale: Affine, labels: Sequence[Label], derived: Sequence[Derived]
) -> Estimates:
    """Centre and 1-sigma errors of every label, derived ones last, shape (N, L).

    A derived label is formed in every draw, so that what its two parts share cancels; its predicted
    noise is the sum of theirs, as if that were independent.
    """
    names = [label.name for label in labels]
    value_KNL = _with_differences(scale.invert(draws.value_KNL).astype(np.float64), names, derived)
    centre_NL, model_NL = value_KNL.mean(axis=0), value_KNL.std(axis=0)
    noise_NL = None
    if draws.log_variance_KNL is not None:
        variance_NL = np.exp(draws.log_variance_KNL.astype(np.float64)).mean(axis=0) * scale.scale**2
        noise_NL = np.sqrt(_with_sums(variance_NL, names, derived))
    raw_NL = model_NL if noise_NL is None else np.hypot(model_NL, noise_NL)
    calibrated = all(label.error_scale is not None for label in labels)
    return Estimates(
        centre_NL=centre_NL.astype(np.float32),
        model_NL=model_NL.astype(np.float32),
        noise_NL=None if noise_NL is None else noise_NL.astype(np.float32),
        total_NL=calibrate(raw_NL, labels) if calibrated else raw_NL.astype(np.float32),
        usable_N=usable_N,
        calibrated=calibrated,
    )


def calibrate(raw_NL: Doubles, labels: Sequence[Label]) -> Floats:
    """sqrt((error_scale * raw)² + error_floor²) per label."""
    scale_L = np.array([label.error_scale for label in labels], np.float64)
    floor_L = np.array([label.error_floor for label in labels], np.float64)
    return np.hypot(raw_NL * scale_L, floor_L).astype(np.float32)


def _with_differences(value: Doubles, names: Sequence[str], derived: Sequence[Derived]) -> Doubles:
    extra = [value[..., names.index(d.minuend)] - value[..., names.index(d.subtrahend)] for d in derived]
    return np.concatenate([value, *(part[..., None] for part in extra)], axis=-1)


def _with_sums(variance: Doubles, names: Sequence[str], derived: Sequence[Derived]) -> Doubles:
    extra = [
        variance[..., names.index(d.minuend)] + variance[..., names.index(d.subtrahend)] for d in derived
    ]
    return np.concatenate([variance, *(part[..., None] for part in extra)], axis=-1)
