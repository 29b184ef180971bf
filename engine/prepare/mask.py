"""Which pixels to believe."""

from functools import reduce
from operator import or_

from engine.prepare.array import Array, array_namespace

# Telluric bands (O2 B and A, H2O) in the observed frame, Angstrom in vacuum. The atmosphere does not move
# with the star, so these must go before the shift to rest.
TELLURIC_WINDOWS = ((6860.0, 6960.0), (7590.0, 7720.0), (8100.0, 8400.0), (9300.0, 9700.0))


def clean(flux_NP: Array, ivar_NP: Array, mask_NP: Array) -> tuple[Array, Array, Array]:
    """Flux and ivar with every bad pixel at (0, 0), and the count of non-finite pixels per star.

    Good means mask == 0 and ivar > 0 and both finite. The mask must be asked beside ivar: DESI coadds
    keep flux with ivar > 0 where all exposures were masked (desispec.coaddition).
    """
    xp = array_namespace(flux_NP)
    finite = xp.isfinite(flux_NP) & xp.isfinite(ivar_NP)
    good = finite & (mask_NP == 0) & (ivar_NP > 0)
    nonfinite_N = xp.astype(xp.count_nonzero(~finite, axis=1), xp.int32)
    return xp.where(good, flux_NP, 0), xp.where(good, ivar_NP, 0), nonfinite_N


def in_windows(wave: Array, windows: tuple[tuple[float, float], ...]) -> Array:
    """Which wavelengths lie in one of the windows, ends included; the shape of `wave`."""
    return reduce(or_, ((wave >= low) & (wave <= high) for low, high in windows))
