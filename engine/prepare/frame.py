"""Velocity -> the factor between observed and rest wavelengths."""

from typing import Literal

from engine.prepare.array import Array, array_namespace

LIGHT_KMS = 299_792.458


def rest_factor(frame: Literal["observed", "rest"], rv_N: Array) -> Array:
    """Observed over rest wavelength, float64 of shape (N,): 1 + v/c, DESI's and Redrock's v = cz.

    Spectra that come in the rest frame give 1 whatever their velocity, so that none is shifted twice;
    an unknown velocity (NaN) gives 1.
    """
    xp = array_namespace(rv_N)
    rv_N = xp.astype(rv_N, xp.float64)
    if frame == "rest":
        return xp.ones_like(rv_N)
    return 1.0 + xp.where(xp.isnan(rv_N), 0.0, rv_N) / LIGHT_KMS
