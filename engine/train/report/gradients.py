"""How a label follows each pixel: the gradient of a network, in physical units.

Legend: N stars, I inputs (pixels, then extras), P pixels, L labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from engine.draw import Network
from engine.train.scalers import Scalers
from engine.types import Basis, Doubles, Floats, Input


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradients:
    """d label / d flux at each pixel, in the label's unit per continuum; a mean over stars and networks.

    `wave_P` is in Angstrom of `medium`, or the number of a coefficient where there are no wavelengths
    (`medium` None). `flux_P` is the mean spectrum at which the gradients were taken.
    """

    wave_P: Doubles
    slope_LP: Floats
    flux_P: Floats
    medium: Literal["vacuum", "air"] | None


def gradients(networks: Sequence[Network], x_NI: Floats, scalers: Scalers) -> Gradients:
    """Gradients of trained networks without dropout, at scaled inputs: a mean star, or solar twins.

    A pixel that the networks do not use has a gradient of 0. Where a network was built to stop gradients
    (AstroNN's elements see Teff, logg and [Fe/H] so), these stop as well.
    """
    pixels = scalers.wanted.pixels
    slopes = [_slopes(network.eval(), torch.from_numpy(np.ascontiguousarray(x_NI))) for network in networks]
    scaled_LI = np.mean(slopes, axis=0)
    with np.errstate(divide="ignore"):
        # An unused input has an infinite scale.
        per_flux_P = 1 / scalers.inputs.scale[:pixels]
    used_P = np.isfinite(scalers.inputs.scale[:pixels])
    scale_P, centre_P = np.where(used_P, scalers.inputs.scale[:pixels], 0), scalers.inputs.centre[:pixels]
    return Gradients(
        wave_P=wavelengths(scalers.wanted),
        slope_LP=(scaled_LI[:, :pixels] * scalers.labels.scale[:, None] * per_flux_P).astype(np.float32),
        flux_P=x_NI[:, :pixels].mean(axis=0) * scale_P + centre_P,
        medium=None if isinstance(scalers.wanted.grid, Basis) else scalers.wanted.medium,
    )


def wavelengths(wanted: Input) -> Doubles:
    """Where each pixel of an input lies; the number of each coefficient where it is none."""
    if isinstance(wanted.grid, Basis):
        every_P = np.arange(wanted.grid.pixels, dtype=np.float64)
    else:
        every_P = wanted.grid.wave_P
    parts = [every_P[start:stop] for start, stop in wanted.parts]
    return np.concatenate(parts) if parts else every_P


def _slopes(network: Network, x_NI: Tensor) -> np.ndarray:
    """Mean over stars of d output / d input in scaled units, shape (L, I)."""
    with torch.enable_grad():
        x_NI = x_NI.detach().clone().requires_grad_(True)
        value_NL = network(x_NI).value_NL
        rows = [
            torch.autograd.grad(value_N.sum(), x_NI, retain_graph=True)[0].mean(dim=0)
            for value_N in value_NL.T
        ]
    return torch.stack(rows).numpy()
