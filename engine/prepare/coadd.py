"""Cameras -> one spectrum on the union grid."""

from collections.abc import Sequence

import numpy as np

from engine.types import Arm, Floats, Grid


def union_grid(arms: Sequence[Arm]) -> Grid:
    """The uniform grid that holds all arms; ValueError unless they share a step and align within 1e-4 A."""
    first = min(arms, key=lambda arm: arm.grid.start).grid
    for arm in arms:
        offset = (arm.grid.start - first.start) / first.step
        if arm.grid.step != first.step or abs(offset - round(offset)) * first.step > 1e-4:
            raise ValueError(f"arm {arm.name} does not align with the grid that starts at {first.start} A")
    stop = max(arm.grid.stop for arm in arms)
    return Grid(start=first.start, step=first.step, pixels=round((stop - first.start) / first.step) + 1)


def coadd_arms(
    arms: Sequence[Arm], flux_A: Sequence[Floats], ivar_A: Sequence[Floats]
) -> tuple[Floats, Floats]:
    """Flux and ivar on the union grid, shape (N, P): copied, and averaged by ivar where arms overlap.

    Arms come in order of wavelength; pixels that no arm covers have ivar 0. Overlaps follow
    desispec.coaddition.coadd_cameras: f = sum(ivar f) / sum(ivar), ivar = sum(ivar).
    """
    grid = union_grid(arms)
    shape = (len(flux_A[0]), grid.pixels)
    flux_NP, ivar_NP = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    filled = 0
    for arm, flux, ivar in zip(arms, flux_A, ivar_A, strict=True):
        low = round((arm.grid.start - grid.start) / grid.step)
        high, shared = low + arm.grid.pixels, max(filled - low, 0)
        flux_NP[:, low + shared : high] = flux[:, shared:]
        ivar_NP[:, low + shared : high] = ivar[:, shared:]
        _average(
            flux_NP[:, low : low + shared], ivar_NP[:, low : low + shared], flux[:, :shared], ivar[:, :shared]
        )
        filled = high
    return flux_NP, ivar_NP


def _average(flux: Floats, ivar: Floats, more_flux: Floats, more_ivar: Floats) -> None:
    """Fold a second measurement into the first, in place."""
    total = ivar + more_ivar
    weighted = flux * ivar + more_flux * more_ivar
    np.divide(weighted, total, out=flux, where=total > 0)
    ivar[:] = total
