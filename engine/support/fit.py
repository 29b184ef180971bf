"""The sum of components that fits a spectrum best, by weighted least squares where the pixels are.

N rows, P pixels, M components, Q pairs of components.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from engine.prepare.array import Array, array_namespace, constant, place_of, placed
from engine.support.records import Subspace

if TYPE_CHECKING:
    import torch


def weights(ivar_NP: Array, subspace: Subspace) -> Array:
    """1 / (noise² + scatter²) of scaled inputs, 0 where a pixel is missing, shape (N, P)."""
    ivar_NP = ivar_NP * constant(subspace.scale_P**2, ivar_NP)
    return ivar_NP / (1 + ivar_NP * constant(subspace.scatter_P**2, ivar_NP))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """A subspace where the pixels are, with the products of all pairs of components.

    Both matrices lie as matrix products read them; transposed ones take several times as long.
    """

    mean_P: Array
    components_MP: Array
    components_PM: Array
    pairs_PQ: Array
    place_MM: Array
    """Which pair each element of a matrix of components is."""


@lru_cache(maxsize=2)
def fitting_of(subspace: Subspace, on: "torch.device | None") -> Fitting:
    """A subspace in torch on a device, or in numpy; kept, since making pairs takes as long as using them."""
    components_MP, parts = subspace.components_MP, len(subspace.components_MP)
    upper, place_MM = np.triu_indices(parts), np.empty((parts, parts), np.int64)
    place_MM[upper] = place_MM[upper[::-1]] = np.arange(len(upper[0]))
    components_PM = np.ascontiguousarray(components_MP.T)
    pairs = [components_PM[:, [m]] * components_PM[:, m:] for m in range(parts)]
    return Fitting(
        mean_P=placed(subspace.mean_P, on),
        components_MP=placed(components_MP, on),
        components_PM=placed(components_PM, on),
        pairs_PQ=placed(np.concatenate(pairs, axis=1), on),
        place_MM=placed(place_MM, on),
    )


def residuals(x_NP: Array, weight_NP: Array, subspace: Subspace) -> Array:
    """What the best fitting sum of components leaves of each spectrum, shape (N, P)."""
    return residuals_of(x_NP, weight_NP, fitting_of(subspace, place_of(x_NP)))


def residuals_of(x_NP: Array, weight_NP: Array, fitting: Fitting) -> Array:
    """Weighted least squares star by star, so that missing pixels leave the fit instead of pulling it.

    The ridge of 1e-3 of the mean weight keeps stars with few pixels solvable; float64 keeps numpy and a
    device together where components are nearly alike.
    """
    xp, parts = array_namespace(x_NP), len(fitting.components_MP)
    normal_NQ = xp.astype(weight_NP @ fitting.pairs_PQ, xp.float64)
    place = xp.reshape(fitting.place_MM, (-1,))
    normal_NMM = xp.reshape(xp.take(normal_NQ, place, axis=1), (-1, parts, parts))
    ridge_N = 1e-3 * xp.clip(xp.mean(weight_NP, axis=1, dtype=xp.float64), min=1e-12)
    normal_NMM = normal_NMM + ridge_N[:, None, None] * xp.eye(parts, device=x_NP.device)
    centred_NP = x_NP - fitting.mean_P
    right_NM1 = xp.astype((weight_NP * centred_NP) @ fitting.components_PM, xp.float64)[..., None]
    amplitude_NM = xp.astype(xp.linalg.solve(normal_NMM, right_NM1)[..., 0], xp.float32)
    return centred_NP - amplitude_NM @ fitting.components_MP
