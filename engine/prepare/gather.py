"""A batch of spectra -> one spectrum per star on a model's grid."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.prepare.coadd import average, coadd_arms, union_grid
from engine.prepare.continuum import snr
from engine.prepare.frame import rest_factor
from engine.prepare.mask import TELLURIC_WINDOWS, clean, in_windows
from engine.prepare.medium import Medium
from engine.prepare.resample import resample
from engine.types import Arm, Doubles, Floats, Grid, Ints, Spectrograph


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """N spectra on a grid; see `types.Normalised`, of which this is the first half."""

    flux_NP: Floats
    ivar_NP: Floats
    snr_N: Floats
    nonfinite_N: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class _Camera:
    """The clean pixels of one arm, or of several that were coadded, and where they lie."""

    axis: Grid | Doubles
    flux_NP: Floats
    ivar_NP: Floats


def gather(
    spectra: pa.Table, spectrograph: Spectrograph, grid: Grid, medium: Medium, rest: bool = True
) -> Gathered:
    """Mask, coadd, drop telluric windows, shift to rest if the model wants that, resample once.

    `medium` is that of `grid`. Arms on aligned grids are coadded before they are resampled; others after it.
    """
    arms = spectrograph.arms
    pixels = [clean(*arrays(spectra, arm)) for arm in arms]
    cameras = _cameras(spectra, arms, [(flux, ivar) for flux, ivar, _ in pixels])
    if spectrograph.frame == "observed":
        for camera in cameras:
            camera.ivar_NP[_telluric(camera)] = 0
    factor_N = np.ones(len(spectra))
    if rest:
        factor_N = rest_factor(spectrograph.frame, spectra["rv"].fill_null(np.nan).to_numpy())
    media = (spectrograph.medium, medium)
    flux_NP, ivar_NP = _resampled(cameras[0], grid, factor_N, media)
    for camera in cameras[1:]:
        average(flux_NP, ivar_NP, *_resampled(camera, grid, factor_N, media))
    return Gathered(
        flux_NP=flux_NP,
        ivar_NP=ivar_NP,
        snr_N=snr(
            *(np.concatenate(x, axis=1) for x in zip(*((c.flux_NP, c.ivar_NP) for c in cameras), strict=True))
        ),
        nonfinite_N=np.stack([nonfinite for _, _, nonfinite in pixels]).sum(axis=0, dtype=np.int32),
    )


def _cameras(spectra: pa.Table, arms: tuple[Arm, ...], pixels: list[tuple[Floats, Floats]]) -> list[_Camera]:
    """Aligned grids as one camera; arms that bring their own wavelengths each as its own."""
    if all(isinstance(arm.grid, Grid) for arm in arms):
        flux_A, ivar_A = zip(*pixels, strict=True)
        flux_NP, ivar_NP = coadd_arms(arms, flux_A, ivar_A)
        return [_Camera(axis=union_grid(arms), flux_NP=flux_NP, ivar_NP=ivar_NP)]
    waves = [tensor(spectra, f"wave_{arm.name}") for arm in arms]
    return [_Camera(axis=w, flux_NP=f, ivar_NP=i) for w, (f, i) in zip(waves, pixels, strict=True)]


def _telluric(camera: _Camera) -> np.ndarray:
    wave = camera.axis.wave_P if isinstance(camera.axis, Grid) else camera.axis
    return np.broadcast_to(in_windows(wave, TELLURIC_WINDOWS), camera.ivar_NP.shape)


def _resampled(
    camera: _Camera, grid: Grid, factor_N: Doubles, media: tuple[Medium, Medium]
) -> tuple[Floats, Floats]:
    return resample(camera.flux_NP, camera.ivar_NP, axis=camera.axis, to=grid, factor_N=factor_N, media=media)


def arrays(spectra: pa.Table, arm: Arm) -> tuple[Floats, Floats, Ints]:
    """Flux, ivar and mask of one arm as numpy, shape (N, P)."""
    flux, ivar, mask = (tensor(spectra, f"{kind}_{arm.name}") for kind in ("flux", "ivar", "mask"))
    return flux, ivar, mask


def tensor(spectra: pa.Table, name: str) -> np.ndarray:
    """A tensor column as numpy, without a copy where the batch is of one chunk."""
    column = spectra[name]
    part = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return part.to_numpy_ndarray()
