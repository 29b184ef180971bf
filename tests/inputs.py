"""What a network sees of stars, made without a survey."""

import numpy as np

from engine.types import Draws, Estimates, Extras, Floats, Inputs, Normalised


def inputs_of(x_NP: Floats, ivar_NP: Floats) -> Inputs:
    """Usable stars with these scaled pixels, and nothing found out while preparing them."""
    rows = len(x_NP)
    nothing_N, none_N = np.zeros(rows, np.float32), np.zeros(rows, np.int32)
    spectra = Normalised(
        flux_NP=x_NP,
        ivar_NP=ivar_NP,
        snr_N=nothing_N,
        lit_fraction_N=nothing_N,
        good_fraction_N=nothing_N,
        nonfinite_N=none_N,
        spikes_N=none_N,
    )
    usable_N = np.ones(rows, bool)
    return Inputs(x_NI=x_NP, usable_N=usable_N, spectra=spectra, extras=extras_of(rows))


def extras_of(rows: int) -> Extras:
    """Nothing beside pixels."""
    return Extras(names=(), value_NE=np.zeros((rows, 0), np.float32), saturated_N=np.zeros(rows, bool))


def estimates_of(centre_NL: Floats, *, known: bool = True) -> Estimates:
    """Labels with an error of 0.1 each."""
    error_NL = np.full_like(centre_NL, 0.1)
    return Estimates(
        centre_NL=centre_NL,
        model_NL=error_NL,
        noise_NL=None,
        total_NL=error_NL,
        known_NL=np.full(centre_NL.shape, known),
        calibrated=True,
    )


def draws_of(value_KNL: Floats, log_variance_KNL: Floats | None = None) -> Draws:
    """Draws of a network with a last hidden layer of two units, all zero."""
    hidden_NH = np.zeros((value_KNL.shape[1], 2), np.float32)
    return Draws(value_KNL=value_KNL, log_variance_KNL=log_variance_KNL, hidden_NH=hidden_NH)
