"""A batch of spectra -> what a network sees of it before scaling: three ways to take out the level."""

from functools import cache

import numpy as np
import pyarrow as pa

from engine.prepare.continuum import Smoother, make_smoother, normalise, snr
from engine.prepare.gather import Gathered, arrays, gather
from engine.prepare.mask import clean
from engine.types import Basis, Floats, Grid, Input, Ints, Normalised, Spectrograph


def over_continuum(spectra: pa.Table, spectrograph: Spectrograph, wanted: Input) -> Normalised:
    """Spectra over their smooth continuum, for instruments that resolve lines."""
    grid = _grid(wanted)
    found = gather(spectra, spectrograph, grid, wanted.medium, rest=wanted.frame == "rest")
    flux_NP, ivar_NP, spikes_N = normalise(found.flux_NP, found.ivar_NP, _smoother(grid))
    return _normalised(found, flux_NP, ivar_NP, spikes_N)


def over_level(spectra: pa.Table, spectrograph: Spectrograph, wanted: Input) -> Normalised:
    """Spectra over their mean flux, for low resolution, where the continuum's shape is the information."""
    found = gather(spectra, spectrograph, _grid(wanted), wanted.medium, rest=wanted.frame == "rest")
    flux_NP, ivar_NP = _over_mean(found.flux_NP, found.ivar_NP)
    return _normalised(found, flux_NP, ivar_NP, np.zeros(len(spectra), np.int32))


def over_first(spectra: pa.Table, spectrograph: Spectrograph, wanted: Input) -> Normalised:
    """Coefficients of all arms over the first one of the last arm (Gaia XP: that of RP).

    The first basis function of XP carries most of the flux (De Angeli et al. 2023, A&A 674, A2). Without that
    coefficient a row has no good pixel.
    """
    assert isinstance(wanted.grid, Basis)
    parts = [clean(*arrays(spectra, arm)) for arm in spectrograph.arms]
    flux_NP, ivar_NP = (np.concatenate(part, axis=1) for part in list(zip(*parts, strict=True))[:2])
    first = sum(arm.grid.pixels for arm in spectrograph.arms[:-1])
    found = Gathered(
        flux_NP=flux_NP,
        ivar_NP=ivar_NP,
        snr_N=snr(np.abs(flux_NP[:, first : first + 1]), ivar_NP[:, first : first + 1]),
        nonfinite_N=np.stack([part[2] for part in parts]).sum(axis=0, dtype=np.int32),
    )
    level_N = np.where(ivar_NP[:, first] > 0, flux_NP[:, first], 0)
    return _normalised(found, *_over(flux_NP, ivar_NP, level_N), np.zeros(len(spectra), np.int32))


def _normalised(found: Gathered, flux_NP: Floats, ivar_NP: Floats, spikes_N: Ints) -> Normalised:
    return Normalised(
        flux_NP=flux_NP,
        ivar_NP=ivar_NP,
        snr_N=found.snr_N,
        lit_fraction_N=_share(found.ivar_NP),
        good_fraction_N=_share(ivar_NP),
        nonfinite_N=found.nonfinite_N,
        spikes_N=spikes_N,
    )


def _over_mean(flux_NP: Floats, ivar_NP: Floats) -> tuple[Floats, Floats]:
    good_NP = ivar_NP > 0
    count_N = good_NP.sum(axis=1)
    total_N = np.where(good_NP, flux_NP, 0).sum(axis=1, dtype=np.float64)
    return _over(flux_NP, ivar_NP, np.divide(total_N, count_N, out=np.zeros(len(count_N)), where=count_N > 0))


def _over(flux_NP: Floats, ivar_NP: Floats, level_N: np.ndarray) -> tuple[Floats, Floats]:
    """Flux over a level and its ivar; missing pixels, and rows without a positive level, are (1, 0)."""
    level_N1 = np.where(level_N > 0, level_N, 1).astype(np.float64)[:, None]
    good_NP = (ivar_NP > 0) & (level_N > 0)[:, None]
    ratio_NP = np.where(good_NP, flux_NP / level_N1, 1).astype(np.float32)
    return ratio_NP, np.where(good_NP, ivar_NP * level_N1**2, 0).astype(np.float32)


def _share(ivar_NP: Floats) -> Floats:
    return (ivar_NP > 0).mean(axis=1, dtype=np.float32)


def _grid(wanted: Input) -> Grid:
    assert isinstance(wanted.grid, Grid)
    return wanted.grid


@cache
def _smoother(grid: Grid) -> Smoother:
    return make_smoother(grid)
