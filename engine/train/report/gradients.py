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
from engine.errors import InputError
from engine.models.model import Model
from engine.train.scalers import Scalers
from engine.types import Basis, Doubles, Floats, Input


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradients:
    """d label / d flux at each pixel, in the label's unit per continuum; a mean over stars and networks.

    `wave_P` is in Angstrom of `medium`, or the number of a coefficient where there are no wavelengths
    (`medium` None). `flux_P` is the mean spectrum at which the gradients were taken, NaN where the networks
    use no pixel.
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
    scale_P, centre_P = (
        np.where(used_P, scalers.inputs.scale[:pixels], np.nan),
        scalers.inputs.centre[:pixels],
    )
    return Gradients(
        wave_P=wavelengths(scalers.wanted),
        slope_LP=(scaled_LI[:, :pixels] * scalers.labels.scale[:, None] * per_flux_P).astype(np.float32),
        flux_P=x_NI[:, :pixels].mean(axis=0) * scale_P + centre_P,
        medium=None if isinstance(scalers.wanted.grid, Basis) else scalers.wanted.medium,
    )


def gradients_of(model: Model, networks: Sequence[Network]) -> Gradients:
    """Gradients of a bundle at the mean of its training spectra, other inputs amid their training range.

    InputError where the bundle does not remember its training spectra, as one with imported weights.
    """
    extras = tuple(extra.name for extra in model.architecture.extras for _ in range(extra.size))
    scalers = Scalers(
        wanted=model.architecture.input,
        extras=extras,
        inputs=model.input_scale,
        labels=model.labelling.scale,
    )
    return gradients(networks, _mean_star(model, extras), scalers)


def _mean_star(model: Model, extras: Sequence[str]) -> Floats:
    """The mean training spectrum as the networks see it, shape (1, I)."""
    if model.known.subspace is None:
        raise InputError(
            "the bundle does not remember its training spectra, so that there is no star to take gradients "
            "at; train a network with `abundant train`"
        )
    pixels = len(model.known.subspace.mean_P)
    scale = model.input_scale.part(pixels, pixels + len(extras))
    middle = {limit.name: (limit.low + limit.high) / 2 for limit in model.known.limits}
    values = [middle.get(name, centre) for name, centre in zip(extras, scale.centre, strict=True)]
    beside_E = scale.apply(np.array(values, np.float32).reshape(1, -1))[0]
    return np.concatenate([model.known.subspace.mean_P, beside_E])[None].astype(np.float32)


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
