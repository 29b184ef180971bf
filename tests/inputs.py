"""What a network sees of stars, made without a survey."""

import numpy as np

from engine.types import Floats, Inputs, Normalised


def inputs_of(x_NP: Floats, ivar_NP: Floats) -> Inputs:
    """Usable stars with these scaled pixels, and nothing found out while preparing them."""
    nothing_N, none_N = np.zeros(len(x_NP), np.float32), np.zeros(len(x_NP), np.int32)
    spectra = Normalised(
        flux_NP=x_NP,
        ivar_NP=ivar_NP,
        snr_N=nothing_N,
        lit_fraction_N=nothing_N,
        good_fraction_N=nothing_N,
        nonfinite_N=none_N,
        spikes_N=none_N,
    )
    return Inputs(x_NP=x_NP, usable_N=np.ones(len(x_NP), bool), spectra=spectra)
