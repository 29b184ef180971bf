"""Scalers fitted on the training stars, and stars as a network sees them through those."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from engine.models.architecture import Architecture, Scaler
from engine.models.inputs import scale_inputs
from engine.prepare.scale import Affine, fit_mean, fit_mean_std, fit_median_iqr, fit_min_max, fit_std
from engine.train.dataset import LabelledSpectra
from engine.types import Bools, Extras, Floats, Input, Inputs, Normalised

# A pixel that fewer training stars have, at the ends of the grid after the shift to rest, is not used.
RARE_PIXEL = 0.05
LEAST_PIXEL, LEAST_NUMBER = 1e-3, 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalers:
    """How inputs (pixels, then extras) and labels are scaled for one network."""

    wanted: Input
    extras: tuple[str, ...]
    inputs: Affine
    labels: Affine


def fit_scalers(architecture: Architecture, training: LabelledSpectra) -> Scalers:
    """The scalers that the architecture asks for, from the training stars alone."""
    scaling = architecture.scaling
    good_NP, rows = training.ivar_NP > 0, len(training)
    pixels = _fit(scaling.pixels, training.flux_NP, good_NP, least=LEAST_PIXEL, rare=RARE_PIXEL)
    everywhere_NE = np.ones((rows, training.extra_NE.shape[1]), bool)
    extras = _fit(scaling.extras, training.extra_NE, everywhere_NE, least=LEAST_NUMBER)
    return Scalers(
        wanted=architecture.input,
        extras=tuple(extra.name for extra in architecture.extras for _ in range(extra.size)),
        inputs=Affine(
            centre=np.concatenate([pixels.centre, extras.centre]),
            scale=np.concatenate([pixels.scale, extras.scale]),
        ),
        labels=_fit(scaling.labels, training.label_NL, training.known_NL, least=LEAST_NUMBER),
    )


FITS: Mapping[Scaler, Callable[..., Affine]] = {
    "scale": fit_std,
    "mean_std": fit_mean_std,
    "min_max": fit_min_max,
    "median_iqr": fit_median_iqr,
}


def _fit(scaler: Scaler, x_NL: Floats, known_NL: Bools, *, least: float, rare: float = 0.0) -> Affine:
    if x_NL.shape[1] == 0:
        return Affine(centre=np.empty(0, np.float32), scale=np.empty(0, np.float32))
    if scaler in FITS:
        return FITS[scaler](x_NL, known_NL, least=least, rare=rare)
    found = fit_mean(x_NL, known_NL, rare=rare)
    return replace(found, centre=np.zeros_like(found.centre)) if scaler == "none" else found


def inputs_of(stars: LabelledSpectra, scalers: Scalers) -> Inputs:
    """What the network sees of labelled stars."""
    none_N = np.zeros(len(stars), bool)
    extras = Extras(names=scalers.extras, value_NE=stars.extra_NE, saturated_N=none_N)
    return scale_inputs(as_normalised(stars), extras, scalers.wanted, scalers.inputs)


def as_normalised(stars: LabelledSpectra) -> Normalised:
    """The spectra alone, as the model's preparation gives them."""
    none_N = np.zeros(len(stars), np.int32)
    good_N = (stars.ivar_NP > 0).mean(axis=1, dtype=np.float32)
    return Normalised(
        flux_NP=stars.flux_NP,
        ivar_NP=stars.ivar_NP,
        snr_N=stars.snr_N,
        lit_fraction_N=good_N,
        good_fraction_N=good_N,
        nonfinite_N=none_N,
        spikes_N=none_N,
    )
