"""Dividing out the continuum, robust to lines, gaps and spikes, and free of a bias with S/N."""

from dataclasses import dataclass

import numpy as np
import torch

from engine.prepare.array import Array, array_namespace, median, placed, quiet
from engine.prepare.mask import in_windows
from engine.types import Grid

# The strongest stellar features (rest frame, vacuum, Angstrom): Ca II H K, H-delta, H-gamma with the G band,
# H-beta, Mg b, Na D, H-alpha, the Ca II triplet. A fixed list keeps lines out of the continuum without
# asking the noise, so that the level does not move with S/N as it does with asymmetric clipping.
STRONG_LINES = (
    (3920.0, 3990.0),
    (4085.0, 4120.0),
    (4285.0, 4360.0),
    (4840.0, 4885.0),
    (5160.0, 5195.0),
    (5880.0, 5905.0),
    (6545.0, 6585.0),
    (8490.0, 8515.0),
    (8530.0, 8560.0),
    (8650.0, 8680.0),
)
BIN_PIXELS = 31
KERNEL_ANGSTROM = 60.0
# Unphysical: further from the continuum than any stellar line or band, and not by noise.
HIGHEST, LOWEST, SIGMAS = 2.0, -0.5, 5.0
# A matrix product adds up in an order that depends on its shape, so every product is of as many stars. A card
# takes all products at once, and may add up in an order that depends on how many they are (to 1e-16).
STARS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoother:
    """What smoothing needs of a grid: the kernel between bins, how bins become pixels again, and lines.

    The kernel is float64, as all sums are: a device adds up in an order of its own, and may round products of
    float32 to fewer digits. So numpy and torch agree even where a continuum crosses zero.
    """

    kernel_BB: Array
    left_P: Array
    weight_P: Array
    lineless_P: Array


def make_smoother(grid: Grid, device: torch.device | None = None) -> Smoother:
    """Gaussian smoothing of 60 A sigma between bins of 31 pixels, strong lines left out."""
    starts = np.arange(0, grid.pixels, BIN_PIXELS)
    centres = np.array([part.mean() for part in np.split(grid.wave_P, starts[1:])])
    left = np.clip(np.searchsorted(centres, grid.wave_P) - 1, 0, len(centres) - 2)
    weight = (grid.wave_P - centres[left]) / (centres[left + 1] - centres[left])
    return Smoother(
        kernel_BB=placed(np.exp(-0.5 * ((centres[:, None] - centres) / KERNEL_ANGSTROM) ** 2), device),
        left_P=placed(left, device),
        weight_P=placed(weight.astype(np.float32), device),
        lineless_P=placed(~in_windows(grid.wave_P, STRONG_LINES), device),
    )


def continuum(flux_NP: Array, variance_NP: Array, good_NP: Array, smoother: Smoother) -> Array:
    """The smooth level of each spectrum, float32 of shape (N, P); 0 or less where there is none.

    Within a bin pixels count alike, since weighting them by ivar would favour the dark cores of lines;
    between bins the weight is the inverse variance of the bin's mean.
    """
    xp = array_namespace(flux_NP)
    used_NP = good_NP & smoother.lineless_P
    count_NB = _binned(used_NP)
    flux_NB, variance_NB = _binned(flux_NP * used_NP), _binned(variance_NP * used_NP)
    with quiet():
        weight_NB = xp.where(variance_NB > 0, count_NB / variance_NB, 0)
    weight_NB = weight_NB / xp.clip(xp.max(weight_NB, axis=1, keepdims=True), min=1e-30)
    total_NB = _spread(weight_NB * count_NB, smoother.kernel_BB)
    light_NB = _spread(weight_NB * flux_NB, smoother.kernel_BB)
    with quiet():
        level_NB = xp.astype(xp.where(total_NB > 1e-6, light_NB / total_NB, 0), xp.float32)
    left_NP = xp.take(level_NB, smoother.left_P, axis=1)
    rise_NP = xp.take(level_NB[:, 1:] - level_NB[:, :-1], smoother.left_P, axis=1)
    return left_NP + rise_NP * smoother.weight_P


def _binned(x_NP: Array) -> Array:
    """Sums over bins of pixels, float64 of shape (N, B); the last bin may be of fewer."""
    xp, (stars, pixels) = array_namespace(x_NP), x_NP.shape
    x_NP = xp.astype(x_NP, xp.float64)
    whole = pixels - pixels % BIN_PIXELS
    # Both libraries have einsum, though the array API has not; numpy's sum takes four times as long.
    x_NB = xp.einsum("nbp->nb", xp.reshape(x_NP[:, :whole], (stars, whole // BIN_PIXELS, BIN_PIXELS)))
    if whole == pixels:
        return x_NB
    return xp.concat([x_NB, xp.sum(x_NP[:, whole:], axis=1, keepdims=True)], axis=1)


def _spread(x_NB: Array, kernel_BB: Array) -> Array:
    """Bins smoothed by the kernel, float64."""
    xp, (stars, bins) = array_namespace(x_NB), x_NB.shape
    more = xp.zeros((-stars % STARS, bins), dtype=xp.float64, device=x_NB.device)
    x_NB = xp.concat([x_NB, more])
    return xp.reshape(xp.reshape(x_NB, (len(x_NB) // STARS, STARS, bins)) @ kernel_BB, x_NB.shape)[:stars]


def normalise(flux_NP: Array, ivar_NP: Array, smoother: Smoother) -> tuple[Array, Array, Array]:
    """Flux over continuum, its ivar, and the count of spikes per star. Missing pixels are (1, 0).

    Two rounds: the first finds unphysical pixels, the second does without them. Flux must be finite where it
    is missing too, as `clean` and `resample` leave it.
    """
    xp = array_namespace(flux_NP)
    with quiet():
        variance_NP = 1 / ivar_NP
    variance_NP = xp.where(xp.isfinite(variance_NP), variance_NP, 0)
    good_NP = variance_NP > 0
    sigma_NP = xp.sqrt(variance_NP)
    spike_NP = good_NP & _unphysical(flux_NP, sigma_NP, continuum(flux_NP, variance_NP, good_NP, smoother))
    good_NP = good_NP & ~spike_NP
    level_NP = continuum(flux_NP, variance_NP, good_NP, smoother)
    late_NP = good_NP & _unphysical(flux_NP, sigma_NP, level_NP)
    good_NP = good_NP & (level_NP > 0) & ~late_NP
    with quiet():
        ratio_NP = xp.where(good_NP, flux_NP / level_NP, 1)
    weight_NP = xp.where(good_NP, ivar_NP * level_NP * level_NP, 0)
    return ratio_NP, weight_NP, xp.astype(xp.count_nonzero(spike_NP | late_NP, axis=1), xp.int32)


def _unphysical(flux_NP: Array, sigma_NP: Array, level_NP: Array) -> Array:
    """Pixels above 2 or below -0.5 times a positive continuum by more than five sigma."""
    noise_NP = SIGMAS * sigma_NP
    too_high, too_low = flux_NP > HIGHEST * level_NP + noise_NP, flux_NP < LOWEST * level_NP - noise_NP
    return (level_NP > 0) & (too_high | too_low)


def snr(flux_NP: Array, ivar_NP: Array) -> Array:
    """Median over good pixels of flux * sqrt(ivar), shape (N,); 0 for a star without a good pixel."""
    xp = array_namespace(flux_NP)
    return median(flux_NP * xp.sqrt(ivar_NP), ivar_NP > 0)
