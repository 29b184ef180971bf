"""A batch of spectra -> what a network sees of it before scaling: three ways to take out the level.

`device` says where to compute, and where what comes back lies: in torch there, or in numpy (None).
"""

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from typing import TypeAlias

import pyarrow as pa
import torch

from engine.prepare.array import Array, array_namespace
from engine.prepare.continuum import Smoother, make_smoother, normalise, snr
from engine.prepare.gather import Gathered, arrays, gather, joined
from engine.prepare.mask import clean
from engine.types import Basis, Grid, Input, Normalised, Spectrograph

Device: TypeAlias = torch.device | None
Way: TypeAlias = Callable[[pa.Table, Spectrograph, Input, Device], Normalised]

# Stars at a time: as many as a core's cache holds, or as a device's memory surely does.
CACHED_ROWS, DEVICE_ROWS = 32, 4096


def over_continuum(
    spectra: pa.Table, spectrograph: Spectrograph, wanted: Input, device: Device = None
) -> Normalised:
    """Spectra over their smooth continuum, for instruments that resolve lines."""
    return in_blocks(_over_continuum, spectra, spectrograph, wanted, device)


def over_level(
    spectra: pa.Table, spectrograph: Spectrograph, wanted: Input, device: Device = None
) -> Normalised:
    """Spectra over their mean flux, for low resolution, where the continuum's shape is the information."""
    return in_blocks(_over_level, spectra, spectrograph, wanted, device)


def over_first(
    spectra: pa.Table, spectrograph: Spectrograph, wanted: Input, device: Device = None
) -> Normalised:
    """Coefficients of all arms over the first one of the last arm (Gaia XP: that of RP).

    The first basis function of XP carries most of the flux (De Angeli et al. 2023, A&A 674, A2). Without that
    coefficient a row has no good pixel.
    """
    return in_blocks(_over_first, spectra, spectrograph, wanted, device)


def in_blocks(
    way: Way, spectra: pa.Table, spectrograph: Spectrograph, wanted: Input, device: Device
) -> Normalised:
    """What a way makes of all spectra, some stars at a time.

    Its many steps over whole arrays then find them in the cache. On a processor no star's numbers depend on
    the others; a card may round its float64 sums by how many there are.
    """
    rows = CACHED_ROWS if device is None else DEVICE_ROWS
    starts = range(0, max(len(spectra), 1), rows)
    parts = [way(spectra.slice(start, rows), spectrograph, wanted, device) for start in starts]
    if len(parts) == 1:
        return parts[0]
    xp, names = array_namespace(parts[0].flux_NP), [field.name for field in fields(Normalised)]
    return Normalised(**{name: xp.concat([getattr(part, name) for part in parts]) for name in names})


def _over_continuum(
    spectra: pa.Table, spectrograph: Spectrograph, wanted: Input, device: Device
) -> Normalised:
    grid = _grid(wanted)
    found = gather(spectra, spectrograph, grid, wanted.medium, wanted.frame == "rest", device)
    flux_NP, ivar_NP, spikes_N = normalise(found.flux_NP, found.ivar_NP, _smoother(grid, device))
    return _normalised(found, flux_NP, ivar_NP, spikes_N)


def _over_level(spectra: pa.Table, spectrograph: Spectrograph, wanted: Input, device: Device) -> Normalised:
    found = gather(spectra, spectrograph, _grid(wanted), wanted.medium, wanted.frame == "rest", device)
    return _without_spikes(found, _mean(found.flux_NP, found.ivar_NP))


def _over_first(spectra: pa.Table, spectrograph: Spectrograph, wanted: Input, device: Device) -> Normalised:
    assert isinstance(wanted.grid, Basis)
    parts = [clean(*arrays(spectra, arm, device)) for arm in spectrograph.arms]
    flux_NP, ivar_NP = joined([part[0] for part in parts]), joined([part[1] for part in parts])
    xp, first = array_namespace(flux_NP), sum(arm.grid.pixels for arm in spectrograph.arms[:-1])
    found = Gathered(
        flux_NP=flux_NP,
        ivar_NP=ivar_NP,
        snr_N=snr(xp.abs(flux_NP[:, first : first + 1]), ivar_NP[:, first : first + 1]),
        nonfinite_N=sum(part[2] for part in parts),
    )
    return _without_spikes(found, xp.where(ivar_NP[:, first] > 0, flux_NP[:, first], 0))


def _without_spikes(found: Gathered, level_N: Array) -> Normalised:
    spikes_N = array_namespace(level_N).zeros_like(found.nonfinite_N)
    return _normalised(found, *_over(found.flux_NP, found.ivar_NP, level_N), spikes_N)


def _normalised(found: Gathered, flux_NP: Array, ivar_NP: Array, spikes_N: Array) -> Normalised:
    return Normalised(
        flux_NP=flux_NP,
        ivar_NP=ivar_NP,
        snr_N=found.snr_N,
        lit_fraction_N=_share(found.ivar_NP),
        good_fraction_N=_share(ivar_NP),
        nonfinite_N=found.nonfinite_N,
        spikes_N=spikes_N,
    )


def _mean(flux_NP: Array, ivar_NP: Array) -> Array:
    """The mean flux of each row's good pixels, float64, shape (N,); 0 for a row without any."""
    xp = array_namespace(flux_NP)
    count_N = xp.count_nonzero(ivar_NP > 0, axis=1)
    total_N = xp.sum(xp.where(ivar_NP > 0, flux_NP, 0), axis=1, dtype=xp.float64)
    return total_N / xp.clip(count_N, min=1)


def _over(flux_NP: Array, ivar_NP: Array, level_N: Array) -> tuple[Array, Array]:
    """Flux over a level and its ivar; missing pixels, and rows without a positive level, are (1, 0)."""
    xp = array_namespace(flux_NP)
    level_N1 = xp.astype(xp.where(level_N > 0, level_N, 1), xp.float64)[:, None]
    good_NP = (ivar_NP > 0) & (level_N > 0)[:, None]
    ratio_NP = xp.astype(xp.where(good_NP, flux_NP / level_N1, 1), xp.float32)
    return ratio_NP, xp.astype(xp.where(good_NP, ivar_NP * level_N1**2, 0), xp.float32)


def _share(ivar_NP: Array) -> Array:
    """The share of each row's pixels that are good."""
    xp = array_namespace(ivar_NP)
    return xp.mean(xp.astype(ivar_NP > 0, xp.float32), axis=1)


def _grid(wanted: Input) -> Grid:
    assert isinstance(wanted.grid, Grid)
    return wanted.grid


@cache
def _smoother(grid: Grid, device: Device) -> Smoother:
    return make_smoother(grid, device)
