"""One set of wavelengths -> a grid, once, with the shift to rest and the change of medium in one step.

Legend: N stars, P pixels as they come, Q pixels of the grid to go to.
"""

from functools import cache

import torch

from engine.prepare.array import (
    Array,
    array_namespace,
    flat_places,
    median,
    place_of,
    placed,
    quiet,
    search_rows,
    take,
)
from engine.prepare.medium import Medium, convert
from engine.types import Grid

# From this ratio of steps on, pixels are averaged into wider ones: interpolating would throw light away.
COARSER = 1.5
# A wider pixel is good if good pixels fill this share of it; a tie counts, whichever way it was rounded.
LEAST_FILLED = 0.5 - 1e-9
# What rounding may make of 0, in pixels: a weight, a place beyond the last pixel, an overlap.
WEIGHT, BEYOND, OVERLAP = 1e-4, 1e-6, 1e-9


def resample(
    flux_NP: Array,
    ivar_NP: Array,
    *,
    axis: Grid | Array,
    to: Grid,
    factor_N: Array,
    media: tuple[Medium, Medium] = ("vacuum", "vacuum"),
) -> tuple[Array, Array]:
    """Flux and ivar at `to.wave_P` times each star's `factor`, float32 of shape (N, to.pixels).

    `axis` is where the pixels lie: a grid, or ascending wavelengths in Angstrom of shape (N, P) with NaN at
    the end where a spectrum is shorter. `media` are those of the spectra and of `to`.

    Onto finer or like pixels: linear interpolation. A pixel is good only if both its neighbours are (so masks
    grow by one pixel). Onto coarser ones: the mean by overlap, which keeps the flux. The variance follows the
    same weights; what neighbouring pixels then share, ivar does not say. Beyond the ends pixels are missing.
    """
    xp = array_namespace(flux_NP)
    wave_Q = _vacuum(to, media[1], place_of(flux_NP))
    wave_NQ = convert(wave_Q * factor_N[:, None], "vacuum", media[0])
    shape, device = wave_NQ.shape, flux_NP.device
    flux_NQ, ivar_NQ = (xp.zeros(shape, dtype=xp.float32, device=device) for _ in range(2))
    reached = _reached(axis, wave_NQ)
    if reached.stop:
        part = _resampled(flux_NP, ivar_NP, axis, wave_NQ[:, reached], _step(to))
        flux_NQ[:, reached], ivar_NQ[:, reached] = part
    return flux_NQ, ivar_NQ


def _reached(axis: Grid | Array, wave_NQ: Array) -> slice:
    """The columns that some star's pixels reach; the others need no work. slice(0, 0) if there are none."""
    xp = array_namespace(wave_NQ)
    low, high = (axis.low, axis.high) if isinstance(axis, Grid) else _ends(axis)
    within_NQ = (wave_NQ > low * (1 - BEYOND)) & (wave_NQ < high * (1 + BEYOND))
    columns = xp.nonzero(xp.any(within_NQ, axis=0))[0]
    return slice(int(columns[0]), int(columns[-1]) + 1) if len(columns) else slice(0, 0)


def _ends(axis_NP: Array) -> tuple[Array, Array]:
    """Each star's first and last wavelength, shape (N, 1); without any, nothing lies between the two."""
    xp = array_namespace(axis_NP)
    last_N1 = xp.max(xp.where(xp.isfinite(axis_NP), axis_NP, -xp.inf), axis=1, keepdims=True)
    return axis_NP[:, :1], last_N1


def _resampled(
    flux_NP: Array, ivar_NP: Array, axis: Grid | Array, wave_NQ: Array, step: float
) -> tuple[Array, Array]:
    """`resample` onto wavelengths of the spectra's own medium, which are `step` apart."""
    xp = array_namespace(flux_NP)
    position_NQ, last = _on_grid(axis, wave_NQ) if isinstance(axis, Grid) else _among(axis, wave_NQ)
    seen_NQ = (position_NQ >= -BEYOND) & (position_NQ < last + BEYOND)
    # Velocities may be absurd, and positions then be infinite or NaN.
    position_NQ = xp.where(seen_NQ, position_NQ, -1.0)
    with quiet():
        variance_NP = 1 / ivar_NP
    # From here on a missing pixel has a variance of 0, and its flux is 0 whatever was there.
    there_NP = xp.isfinite(variance_NP if isinstance(axis, Grid) else variance_NP + axis)
    flux_NP, variance_NP = xp.where(there_NP, flux_NP, 0), xp.where(there_NP, variance_NP, 0)
    stars = (position_NQ, seen_NQ, flux_NP, variance_NP)
    if isinstance(axis, Grid):
        return _average(*stars) if _step(axis) * COARSER <= step else _interpolate(*stars)
    # Each star by its own steps: its numbers must not depend on its neighbours in the batch.
    coarser_N = _steps(axis) * COARSER <= step
    ways = [way for way, wanted in ((_average, coarser_N), (_interpolate, ~coarser_N)) if xp.any(wanted)]
    found = [way(*stars) for way in ways]
    flux_NQ, ivar_NQ = (xp.where(coarser_N[:, None], *pair) for pair in zip(found[0], found[-1], strict=True))
    return flux_NQ, ivar_NQ


@cache
def _vacuum(grid: Grid, medium: Medium, on: torch.device | None) -> Array:
    """The wavelengths of a grid in vacuum, shape (Q,)."""
    return placed(convert(grid.wave_P, medium, "vacuum"), on)


def _step(grid: Grid) -> float:
    """The typical step in Angstrom."""
    return (grid.high - grid.low) / (grid.pixels - 1)


def _steps(axis_NP: Array) -> Array:
    """The typical step of each star in Angstrom, shape (N,)."""
    xp = array_namespace(axis_NP)
    step_NP = xp.astype(axis_NP[:, 1:] - axis_NP[:, :-1], xp.float32)
    return median(step_NP, xp.isfinite(step_NP))


def _on_grid(grid: Grid, wave_NQ: Array) -> tuple[Array, int]:
    """Where wavelengths lie on a grid, in pixels from 0, and its last pixel."""
    with quiet():
        steps_NQ = wave_NQ if grid.spacing == "linear" else array_namespace(wave_NQ).log10(wave_NQ)
    return (steps_NQ - grid.start) / grid.step, grid.pixels - 1


def _among(axis_NP: Array, wave_NQ: Array) -> tuple[Array, Array]:
    """Where wavelengths lie among each star's own, in pixels from 0, and its last pixel, shape (N, 1)."""
    xp = array_namespace(axis_NP)
    finite_NP = xp.isfinite(axis_NP)
    last_N1 = xp.count_nonzero(finite_NP, axis=1)[:, None] - 1
    axis_NP = xp.where(finite_NP, axis_NP, xp.inf)
    left_NQ = xp.clip(xp.minimum(search_rows(axis_NP, wave_NQ), last_N1) - 1, min=0)
    at_NQ = flat_places(left_NQ, axis_NP.shape[1])
    low_NQ, high_NQ = take(axis_NP, at_NQ), take(axis_NP, at_NQ + 1)
    with quiet():
        position_NQ = xp.astype(left_NQ, xp.float64) + (wave_NQ - low_NQ) / (high_NQ - low_NQ)
    # Stars with less than two wavelengths see nothing.
    return position_NQ, xp.where(last_N1 > 0, last_N1, -1)


def _interpolate(
    position_NQ: Array, seen_NQ: Array, flux_NP: Array, variance_NP: Array
) -> tuple[Array, Array]:
    """Flux and ivar between the two nearest pixels."""
    xp, pixels = array_namespace(flux_NP), flux_NP.shape[1]
    left_NQ = xp.floor(xp.clip(position_NQ, min=0.0, max=pixels - 2.0))
    t = xp.astype(position_NQ - left_NQ, xp.float32)
    s = 1 - t * (xp.abs(t) > WEIGHT)
    s = s * (xp.abs(s) > WEIGHT)
    t = 1 - s
    at_NQ = flat_places(xp.astype(left_NQ, xp.int64), pixels)
    next_NQ = at_NQ + 1
    a, b = take(variance_NP, at_NQ), take(variance_NP, next_NQ)
    good_NQ = seen_NQ & ((a > 0) | (s == 0)) & ((b > 0) | (t == 0))
    with quiet():
        ivar_NQ = xp.where(good_NQ, 1 / (s * s * a + t * t * b), 0)
    return (s * take(flux_NP, at_NQ) + t * take(flux_NP, next_NQ)) * good_NQ, ivar_NQ


def _average(position_NQ: Array, seen_NQ: Array, flux_NP: Array, variance_NP: Array) -> tuple[Array, Array]:
    """Means of the pixels that overlap each output pixel, which must be wider than they are."""
    xp, pixels = array_namespace(flux_NP), flux_NP.shape[1]
    flux_NP, variance_NP = xp.astype(flux_NP, xp.float64), xp.astype(variance_NP, xp.float64)
    low_NQ, high_NQ = _edges(position_NQ, seen_NQ)
    width_NQ = high_NQ - low_NQ
    scale_NQ = 1 / (width_NQ + (width_NQ == 0))
    low_NQ, high_NQ = (xp.clip(edge_NQ, min=-0.5, max=pixels - 0.5) + 0.5 for edge_NQ in (low_NQ, high_NQ))
    first_NQ = xp.floor(low_NQ)
    most = int(xp.max(xp.floor(high_NQ) - first_NQ)) + 1
    at_NQ = flat_places(xp.astype(first_NQ, xp.int64), pixels)
    last_N1 = flat_places(xp.zeros_like(at_NQ[:, :1]), pixels) + (pixels - 1)
    total, light, spread = (xp.zeros_like(width_NQ) for _ in range(3))
    # One pixel at a time: a neighbour in the batch with more of them adds zeros to a star's sums.
    for k in range(most):
        place_NQ, from_NQ = xp.minimum(at_NQ + k, last_N1), first_NQ + k
        variance_NQ = take(variance_NP, place_NQ)
        share = (xp.minimum(from_NQ + 1, high_NQ) - xp.maximum(from_NQ, low_NQ)) * scale_NQ
        share = share * ((share > OVERLAP) & (variance_NQ > 0))
        total += share
        light += share * take(flux_NP, place_NQ)
        spread += share * share * variance_NQ
    filled_NQ = seen_NQ & (total >= LEAST_FILLED)
    with quiet():
        means = (light / total, total * total / spread)
    flux_NQ, ivar_NQ = (xp.astype(xp.where(filled_NQ, mean, 0), xp.float32) for mean in means)
    return flux_NQ, ivar_NQ


def _edges(position_NQ: Array, seen_NQ: Array) -> tuple[Array, Array]:
    """Where output pixels begin and end, in pixels as they come; alone, or not seen, they are empty.

    Edges lie in the middle between neighbours; at the ends of what is seen a pixel is as wide on both sides.
    """
    xp = array_namespace(position_NQ)
    half = (position_NQ[:, 1:] - position_NQ[:, :-1]) / 2 * (seen_NQ[:, 1:] & seen_NQ[:, :-1])
    nothing = xp.zeros_like(position_NQ[:, :1])
    left, right = xp.concat([nothing, half], axis=1), xp.concat([half, nothing], axis=1)
    left, right = xp.where(left > 0, left, right), xp.where(right > 0, right, left)
    return position_NQ - left, position_NQ + right
