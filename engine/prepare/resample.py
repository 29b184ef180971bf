"""One set of wavelengths -> a grid, once, with the shift to rest and the change of medium in one step."""

import numpy as np

from engine.prepare.medium import Medium, convert
from engine.types import Doubles, Floats, Grid

# From this ratio of steps on, pixels are averaged into wider ones: interpolating would throw light away.
COARSER = 1.5
# A wider pixel is good if good pixels fill this share of it.
LEAST_FILLED = 0.5


def resample(
    flux_NP: Floats,
    ivar_NP: Floats,
    *,
    axis: Grid | Doubles,
    to: Grid,
    factor_N: Doubles,
    media: tuple[Medium, Medium] = ("vacuum", "vacuum"),
) -> tuple[Floats, Floats]:
    """Flux and ivar at `to.wave_P` times each star's `factor`, shape (N, to.pixels).

    `axis` is where the pixels lie: a grid, or ascending wavelengths in Angstrom of shape (N, P) with NaN at
    the end where a spectrum is shorter. `media` are those of the spectra and of `to`.

    Onto finer or like pixels: linear interpolation. A pixel is good only if both its neighbours are (so masks
    grow by one pixel). Onto coarser ones: the mean by overlap, which keeps the flux. The variance follows the
    same weights; what neighbouring pixels then share, ivar does not say. Beyond the ends pixels are missing.
    """
    shape = (len(flux_NP), to.pixels)
    flux, ivar = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    wave_P = convert(to.wave_P, media[1], "vacuum")
    with np.errstate(divide="ignore"):
        variance_NP = np.float32(1) / ivar_NP
    for n, factor in enumerate(factor_N):
        own = axis if isinstance(axis, Grid) else axis[n, np.isfinite(axis[n])]
        pixels = own.pixels if isinstance(own, Grid) else len(own)
        if pixels < 2:
            continue
        position = _position(own, convert(wave_P * factor, "vacuum", media[0]))
        first, last = np.searchsorted(position, (-1e-6, pixels - 1 + 1e-6))
        # Each star by itself: its numbers must not depend on its neighbours in the batch.
        onto = _average if _step(own) * COARSER <= _step(to) else _interpolate
        if last > first:
            onto(
                position[first:last],
                flux_NP[n, :pixels],
                variance_NP[n, :pixels],
                flux[n, first:last],
                ivar[n, first:last],
            )
    return flux, ivar


def _step(axis: Grid | Doubles) -> float:
    """The typical step in Angstrom."""
    if isinstance(axis, Grid):
        return (axis.high - axis.low) / (axis.pixels - 1)
    return float(np.median(np.diff(axis)))


def _position(axis: Grid | Doubles, wave: Doubles) -> Doubles:
    """Where wavelengths lie among the pixels, from 0; outside of them below 0 or beyond the last."""
    if isinstance(axis, Grid):
        return axis.position(wave)
    places = np.arange(len(axis), dtype=np.float64)
    return np.interp(wave, axis, places, left=-1.0, right=float(len(axis)))


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


def _average(position: Doubles, flux: Floats, variance: Floats, out_flux: Floats, out_ivar: Floats) -> None:
    """Fill one star's output rows with means of the pixels that overlap each; needs wider output pixels."""
    if len(position) < 2:
        return
    bins = len(position)
    middle = (position[1:] + position[:-1]) / 2
    edges = np.concatenate(([1.5 * position[0] - 0.5 * position[1]], middle, [2 * position[-1] - middle[-1]]))
    # Edges of the input pixels, counted in output pixels. One input pixel lies in two of them at most.
    sides = np.interp(
        np.arange(len(flux) + 1) - 0.5, edges, np.arange(bins + 1.0), left=-1.0, right=bins + 1.0
    )
    low, high = np.clip(sides[:-1], 0, bins), np.clip(sides[1:], 0, bins)
    home = np.floor(low).astype(np.intp)
    good = np.isfinite(variance) & (high > low)
    within = np.minimum(high, home + 1.0) - low
    parts = [(home, within), (home + 1, high - low - within)]
    total, light, spread = np.zeros(bins + 2), np.zeros(bins + 2), np.zeros(bins + 2)
    for place, width in parts:
        taken = good & (width > 1e-9)
        w, at = width[taken], place[taken]
        total += np.bincount(at, w, bins + 2)
        light += np.bincount(at, w * flux[taken], bins + 2)
        spread += np.bincount(at, w * w * variance[taken], bins + 2)
    filled = total[:bins] >= LEAST_FILLED
    np.divide(light[:bins], total[:bins], out=out_flux, where=filled, casting="unsafe")
    np.divide(total[:bins] ** 2, spread[:bins], out=out_ivar, where=filled, casting="unsafe")
