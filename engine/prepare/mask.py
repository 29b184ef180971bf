"""Which pixels to believe."""

import numpy as np

from engine.types import Bools, Doubles, Floats, Ints

# Telluric bands (O2 B and A, H2O) in the observed frame, Angstrom in vacuum. The atmosphere does not move
# with the star, so these must go before the shift to rest.
TELLURIC_WINDOWS = ((6860.0, 6960.0), (7590.0, 7720.0), (8100.0, 8400.0), (9300.0, 9700.0))


def clean(flux_NP: Floats, ivar_NP: Floats, mask_NP: Ints) -> tuple[Floats, Floats, Ints]:
    """Flux and ivar with every bad pixel at (0, 0), and the count of non-finite pixels per star.

    Good means mask == 0 and ivar > 0 and both finite. The mask must be asked beside ivar: DESI coadds
    keep flux with ivar > 0 where all exposures were masked (desispec.coaddition).
    """
    finite = np.isfinite(flux_NP) & np.isfinite(ivar_NP)
    good = finite & (mask_NP == 0) & (ivar_NP > 0)
    nonfinite_N = np.count_nonzero(~finite, axis=1).astype(np.int32)
    return np.where(good, flux_NP, np.float32(0)), np.where(good, ivar_NP, np.float32(0)), nonfinite_N


def in_windows(wave: Doubles, windows: tuple[tuple[float, float], ...]) -> Bools:
    """Which wavelengths lie in one of the windows, ends included; the shape of `wave`."""
    inside = [(wave >= low) & (wave <= high) for low, high in windows]
    return np.logical_or.reduce(inside)
