"""Cameras -> one spectrum on the union grid."""

from collections.abc import Sequence
from dataclasses import replace

from engine.prepare.array import Array, array_namespace, quiet
from engine.types import Arm, Grid

# Share of a pixel by which an arm may lie off the common grid (desispec: 1e-4 A of 0.8 A).
ALIGNED = 1.25e-4


def union_grid(arms: Sequence[Arm]) -> Grid:
    """The grid that holds all arms; ValueError unless they share a step and their pixels align."""
    grids = [arm.grid for arm in arms if isinstance(arm.grid, Grid)]
    if len(grids) < len(arms):
        raise ValueError("arms that bring their own wavelengths share no grid")
    first = min(grids, key=lambda grid: grid.start)
    offsets = []
    for arm, grid in zip(arms, grids, strict=True):
        offset = (grid.start - first.start) / first.step
        same = (grid.step, grid.spacing) == (first.step, first.spacing)
        if not same or abs(offset - round(offset)) > ALIGNED:
            raise ValueError(f"arm {arm.name} does not align with the grid that starts at {first.low} A")
        offsets.append(round(offset))
    pixels = max(offset + grid.pixels for offset, grid in zip(offsets, grids, strict=True))
    return replace(first, pixels=pixels)


def coadd_arms(arms: Sequence[Arm], flux_A: Sequence[Array], ivar_A: Sequence[Array]) -> tuple[Array, Array]:
    """Flux and ivar on the union grid, shape (N, P): copied, and averaged by ivar where arms overlap.

    Arms come in order of wavelength; pixels that no arm covers have ivar 0. Overlaps follow
    desispec.coaddition.coadd_cameras: f = sum(ivar f) / sum(ivar), ivar = sum(ivar).
    """
    xp, grid = array_namespace(*flux_A), union_grid(arms)
    shape = (len(flux_A[0]), grid.pixels)
    flux_NP, ivar_NP = (xp.zeros(shape, dtype=xp.float32, device=flux_A[0].device) for _ in range(2))
    filled = 0
    for arm, flux, ivar in zip(arms, flux_A, ivar_A, strict=True):
        low = _first_pixel(arm, grid)
        high, shared = low + arm.grid.pixels, max(filled - low, 0)
        flux_NP[:, low + shared : high] = flux[:, shared:]
        ivar_NP[:, low + shared : high] = ivar[:, shared:]
        both = slice(low, low + shared)
        flux_NP[:, both], ivar_NP[:, both] = average(
            flux_NP[:, both], ivar_NP[:, both], flux[:, :shared], ivar[:, :shared]
        )
        filled = high
    return flux_NP, ivar_NP


def _first_pixel(arm: Arm, grid: Grid) -> int:
    """The pixel of the union grid at which an arm begins."""
    assert isinstance(arm.grid, Grid)
    return round((arm.grid.start - grid.start) / grid.step)


def average(flux: Array, ivar: Array, more_flux: Array, more_ivar: Array) -> tuple[Array, Array]:
    """Flux and ivar of two measurements of the same pixels, by inverse variance; the first flux if none."""
    xp = array_namespace(flux)
    total = ivar + more_ivar
    with quiet():
        mean = (flux * ivar + more_flux * more_ivar) / total
    return xp.where(total > 0, mean, flux), total
