"""Normalised spectra and extras -> what a network sees."""

from dataclasses import replace

import numpy as np

from engine.prepare.array import array_namespace, constant, on_host
from engine.prepare.scale import Affine
from engine.support import LEAST_GOOD_FRACTION
from engine.types import Extras, Input, Inputs, Normalised

PER_STAR = ("snr_N", "lit_fraction_N", "good_fraction_N", "nonfinite_N", "spikes_N")
# In units of its scaling. What lies beyond is no measurement (a magnitude of -999 that was not declared
# missing), and would overflow a network.
FARTHEST = 1e9


def scale_inputs(spectra: Normalised, extras: Extras, wanted: Input, scale: Affine) -> Inputs:
    """Scaled pixels, then scaled extras; unusable stars are zeros.

    A missing pixel sits at 0, the training set's centre, or where a flux of one does if the network was
    trained so. A star that lacks an extra cannot be used. Pixels stay where they are, on a device or not;
    what is known of each star comes to the host.
    """
    xp = array_namespace(spectra.flux_NP)
    pixel_scale, extra_scale = scale.part(0, wanted.pixels), scale.part(wanted.pixels, None)
    extras = _within_reach(extras, extra_scale)
    flux_NP = pixel_scale.apply(spectra.flux_NP)
    if wanted.missing == "centre":
        flux_NP = xp.where(spectra.ivar_NP > 0, flux_NP, 0)
    extra_NE = constant(extra_scale.apply(extras.value_NE), flux_NP)
    usable_N = (spectra.good_fraction_N >= LEAST_GOOD_FRACTION) & ~xp.any(xp.isnan(extra_NE), axis=1)
    x_NI = xp.where(usable_N[:, None], xp.concat([flux_NP, extra_NE], axis=1), 0)
    per_star = {name: on_host(getattr(spectra, name)) for name in PER_STAR}
    return Inputs(x_NI=x_NI, usable_N=on_host(usable_N), spectra=replace(spectra, **per_star), extras=extras)


def _within_reach(extras: Extras, scale: Affine) -> Extras:
    """Extras with NaN for what is not finite or absurdly far from the training stars."""
    with np.errstate(over="ignore", invalid="ignore"):
        reached_NE = np.abs(scale.apply(extras.value_NE)) <= FARTHEST
    return replace(extras, value_NE=np.where(reached_NE, extras.value_NE, np.float32(np.nan)))
