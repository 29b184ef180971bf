"""Velocity -> the factor between observed and rest wavelengths."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from engine.types import Doubles

LIGHT_KMS = 299_792.458


def rest_factor(frame: Literal["observed", "rest"], rv_N: npt.NDArray[np.floating]) -> Doubles:
    """Observed over rest wavelength, shape (N,): 1 + v/c, the definition of DESI's and Redrock's v = cz.

    Spectra that come in the rest frame give 1 whatever their velocity, so that none is shifted twice;
    an unknown velocity (NaN) gives 1.
    """
    if frame == "rest":
        return np.ones(len(rv_N))
    return 1.0 + np.nan_to_num(rv_N.astype(np.float64)) / LIGHT_KMS
