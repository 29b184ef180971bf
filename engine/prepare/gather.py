"""A batch of spectra -> one spectrum per star on a model's grid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import pyarrow as pa
import torch

from engine.prepare.array import Array, array_namespace, column, place_of, placed, tensor
from engine.prepare.coadd import average, coadd_arms, union_grid
from engine.prepare.continuum import snr
from engine.prepare.frame import rest_factor
from engine.prepare.mask import TELLURIC_WINDOWS, clean, in_windows
from engine.prepare.medium import Medium
from engine.prepare.resample import resample
from engine.types import Arm, Grid, Spectrograph

__all__ = ["Gathered", "arrays", "gather", "tensor"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """N spectra on a grid; see `types.Normalised`, of which this is the first half."""

    flux_NP: Array
    ivar_NP: Array
    snr_N: Array
    nonfinite_N: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class _Camera:
    """The clean pixels of one arm, or of several that were coadded, and where they lie."""

    axis: Grid | Array
    flux_NP: Array
    ivar_NP: Array


def gather(
    spectra: pa.Table,
    spectrograph: Spectrograph,
    grid: Grid,
    medium: Medium,
    rest: bool = True,
    device: torch.device | None = None,
) -> Gathered:
    """Mask, coadd, drop telluric windows, shift to rest if the model wants that, resample once.

    `medium` is that of `grid`. Arms on aligned grids are coadded before they are resampled; others after it.
    """
    arms = spectrograph.arms
    pixels = [clean(*arrays(spectra, arm, device)) for arm in arms]
    cameras = _cameras(spectra, arms, [(flux, ivar) for flux, ivar, _ in pixels])
    if spectrograph.frame == "observed":
        cameras = [_without_telluric(camera) for camera in cameras]
    factor_N = rest_factor(spectrograph.frame if rest else "rest", column(spectra, "rv", device))
    media = (spectrograph.medium, medium)
    flux_NP, ivar_NP = _resampled(cameras[0], grid, factor_N, media)
    for camera in cameras[1:]:
        flux_NP, ivar_NP = average(flux_NP, ivar_NP, *_resampled(camera, grid, factor_N, media))
    return Gathered(
        flux_NP=flux_NP,
        ivar_NP=ivar_NP,
        snr_N=snr(
            joined([camera.flux_NP for camera in cameras]), joined([camera.ivar_NP for camera in cameras])
        ),
        nonfinite_N=sum(nonfinite for _, _, nonfinite in pixels),
    )


def _cameras(spectra: pa.Table, arms: tuple[Arm, ...], pixels: list[tuple[Array, Array]]) -> list[_Camera]:
    """Aligned grids as one camera; arms that bring their own wavelengths each as its own."""
    if all(isinstance(arm.grid, Grid) for arm in arms):
        flux_A, ivar_A = zip(*pixels, strict=True)
        flux_NP, ivar_NP = coadd_arms(arms, flux_A, ivar_A)
        return [_Camera(axis=union_grid(arms), flux_NP=flux_NP, ivar_NP=ivar_NP)]
    waves = [tensor(spectra, f"wave_{arm.name}", place_of(pixels[0][0])) for arm in arms]
    return [_Camera(axis=w, flux_NP=f, ivar_NP=i) for w, (f, i) in zip(waves, pixels, strict=True)]


def _without_telluric(camera: _Camera) -> _Camera:
    """Without the pixels that the atmosphere darkens."""
    place = place_of(camera.ivar_NP)
    outside = _outside(camera.axis, place) if isinstance(camera.axis, Grid) else ~_telluric(camera.axis)
    return replace(camera, ivar_NP=camera.ivar_NP * outside)


@cache
def _outside(grid: Grid, on: torch.device | None) -> Array:
    """Which pixels of a grid lie in no telluric window, shape (P,)."""
    return placed(~_telluric(grid.wave_P), on)


def _telluric(wave: Array) -> Array:
    return in_windows(wave, TELLURIC_WINDOWS)


def _resampled(
    camera: _Camera, grid: Grid, factor_N: Array, media: tuple[Medium, Medium]
) -> tuple[Array, Array]:
    return resample(camera.flux_NP, camera.ivar_NP, axis=camera.axis, to=grid, factor_N=factor_N, media=media)


def joined(parts_NP: Sequence[Array]) -> Array:
    """The pixels of several arms side by side, shape (N, P)."""
    return parts_NP[0] if len(parts_NP) == 1 else array_namespace(parts_NP[0]).concat(parts_NP, axis=1)


def arrays(spectra: pa.Table, arm: Arm, device: torch.device | None = None) -> tuple[Array, Array, Array]:
    """Flux, ivar and mask of one arm, shape (N, P)."""
    flux, ivar, mask = (tensor(spectra, f"{kind}_{arm.name}", device) for kind in ("flux", "ivar", "mask"))
    return flux, ivar, mask
