"""One grid -> another, once, with the shift to rest in the same step."""

import numpy as np

from engine.types import Doubles, Floats, Grid


def resample(
    flux_NP: Floats, ivar_NP: Floats, *, grid: Grid, to: Grid, factor_N: Doubles
) -> tuple[Floats, Floats]:
    """Flux and ivar at `to.wave_P * factor` of each star, shape (N, to.pixels).

    Linear interpolation; the variance follows the same weights. A pixel is good only if both its
    neighbours are (so masks grow by one pixel), and missing beyond the ends. Noise of neighbouring
    pixels becomes correlated, which ivar does not say.
    """
    shape = (len(flux_NP), to.pixels)
    flux, ivar = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    wave_P = to.wave_P
    with np.errstate(divide="ignore"):
        variance_NP = np.float32(1) / ivar_NP
    for n, factor in enumerate(factor_N):
        position = (wave_P * factor - grid.start) / grid.step
        first, last = np.searchsorted(position, (-1e-6, grid.pixels - 1 + 1e-6))
        _interpolate(
            position[first:last], flux_NP[n], variance_NP[n], flux[n, first:last], ivar[n, first:last]
        )
    return flux, ivar


def _interpolate(
    position: Doubles, flux: Floats, variance: Floats, out_flux: Floats, out_ivar: Floats
) -> None:
    """Fill one star's output rows; a missing pixel has infinite variance."""
    left = np.clip(position, 0, len(flux) - 2).astype(np.intp)
    t = (position - left).astype(np.float32)
    t[np.abs(t) < 1e-4] = 0
    t[np.abs(t - 1) < 1e-4] = 1
    s = 1 - t
    a, b = flux.take(left), flux.take(left + 1)
    with np.errstate(invalid="ignore"):
        spread = np.where(s > 0, s * s * variance.take(left), 0) + np.where(
            t > 0, t * t * variance.take(left + 1), 0
        )
    np.divide(1, spread, out=out_ivar)
    np.copyto(out_flux, s * a + t * b, where=out_ivar > 0)
