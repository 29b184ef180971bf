"""Spectra that come continuum-normalised already -> a network's pixels, and the cuts in them.

The networks of Guiglion et al. 2020 (RAVE) and Nepal et al. 2023 (Gaia-ESO, lithium) were trained on their
surveys' own normalised products at rest; normalising those again would change what the networks know.
"""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from engine.prepare.array import Array, array_namespace
from engine.prepare.gather import gather, joined
from engine.prepare.normalised import Device, in_blocks, over_continuum
from engine.types import Grid, Input, Normalised, Spectrograph

Parts = tuple[tuple[int, int], ...]


def as_given(
    spectra: pa.Table, spectrograph: Spectrograph, wanted: Input, device: Device = None
) -> Normalised:
    """Spectra at the level they come with, on the model's grid; of it, the parts that the model wants."""
    return in_blocks(_as_given, spectra, spectrograph, wanted, device)


def _as_given(spectra: pa.Table, spectrograph: Spectrograph, wanted: Input, device: Device) -> Normalised:
    assert isinstance(wanted.grid, Grid)
    found = gather(spectra, spectrograph, wanted.grid, wanted.medium, wanted.frame == "rest", device)
    xp, parts = array_namespace(found.flux_NP), parts_of(wanted)
    flux_NP, ivar_NP = join(found.flux_NP, parts), join(found.ivar_NP, parts)
    return Normalised(
        flux_NP=xp.where(ivar_NP > 0, flux_NP, 1.0),
        ivar_NP=ivar_NP,
        snr_N=found.snr_N,
        lit_fraction_N=share(ivar_NP),
        good_fraction_N=share(ivar_NP),
        nonfinite_N=found.nonfinite_N,
        spikes_N=xp.zeros_like(found.nonfinite_N),
    )


def over_continuum_cut(
    spectra: pa.Table, spectrograph: Spectrograph, wanted: Input, device: Device = None
) -> Normalised:
    """Spectra over our smooth continuum; of them, the parts that the model wants.

    For surveys that give raw counts. The level is ours and not that of the published products, so a network
    that is trained on it is one "after" the published.
    """
    whole, parts = over_continuum(spectra, spectrograph, replace(wanted, parts=()), device), parts_of(wanted)
    flux_NP, ivar_NP = join(whole.flux_NP, parts), join(whole.ivar_NP, parts)
    return replace(whole, flux_NP=flux_NP, ivar_NP=ivar_NP, good_fraction_N=share(ivar_NP))


def parts_outside(grid: Grid, windows: tuple[tuple[float, float], ...]) -> Parts:
    """The ranges [first, last) of pixels that lie in no window; a window's own ends are kept."""
    inside = [(grid.wave_P > low) & (grid.wave_P < high) for low, high in windows]
    kept_P = ~np.logical_or.reduce([np.zeros(grid.pixels, bool), *inside])
    assert kept_P.any(), "the windows leave no pixel"
    edges = np.flatnonzero(np.diff(kept_P, prepend=False, append=False))
    return tuple((int(first), int(last)) for first, last in edges.reshape(-1, 2))


def parts_of(wanted: Input) -> Parts:
    """The ranges of pixels that a model wants of its grid; all of them where it names none."""
    return wanted.parts or ((0, wanted.grid.pixels),)


def join(x_NP: Array, parts: Parts) -> Array:
    """Ranges of columns, one after the other."""
    return joined([x_NP[:, first:last] for first, last in parts])


def share(ivar_NP: Array) -> Array:
    """Share of good pixels of each star."""
    xp = array_namespace(ivar_NP)
    return xp.mean(xp.astype(ivar_NP > 0, xp.float32), axis=1)
