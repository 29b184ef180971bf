"""A part of the training set in the network's units, ready for any device or machine."""

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from engine.train.dataset import LabelledSpectra
from engine.train.scalers import Scalers, inputs_of
from engine.types import Floats, Grid, Input

# Neighbours on the grid are no further apart than so many typical steps; beyond is a gap between chips.
GAP = 2.0
# What each star has of its own.
BY_STAR = ("x_NI", "sigma_NI", "y_NL", "inverse_error_NL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """N stars, and what loss and augmentation must know of their I inputs, of which P are pixels.

    `sigma_NI` is each input's noise, 0 where it is missing or no pixel; `centre_P`, `scale_P` are the pixels'
    scaling; `missing_P` is where a missing pixel lies; `span_P` is the difference of ln(wavelength) between
    a pixel's two neighbours, 0 where it has not both. `label_scale_L` is one scaled unit of a label.
    """

    x_NI: Tensor
    sigma_NI: Tensor
    y_NL: Tensor
    inverse_error_NL: Tensor
    label_scale_L: Tensor
    centre_P: Tensor
    scale_P: Tensor
    missing_P: Tensor
    span_P: Tensor

    def __len__(self) -> int:
        return len(self.x_NI)

    def take(self, rows: Tensor | slice) -> "Tensors":
        """Some of the stars."""
        return replace(self, **{name: getattr(self, name)[rows] for name in BY_STAR})

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(getattr(self, name).nbytes for name in self.__slots__)

    def to(self, device: torch.device) -> "Tensors":
        """The same on a device."""
        return Tensors(**{name: getattr(self, name).to(device) for name in self.__slots__})

    def __reduce__(self) -> tuple[object, ...]:
        """Between processes as arrays, which an object store shares without a copy."""
        return of_arrays, (self.arrays(),)

    def arrays(self) -> dict[str, np.ndarray]:
        """The same as arrays."""
        return {name: getattr(self, name).numpy() for name in self.__slots__}


def of_arrays(arrays: Mapping[str, np.ndarray]) -> Tensors:
    """Tensors that share the memory of arrays; nobody ever writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return Tensors(**{name: torch.as_tensor(array) for name, array in arrays.items()})


def to_tensors(stars: LabelledSpectra, scalers: Scalers, floor_L: Floats) -> Tensors:
    """Scaled inputs, labels and weights: 1/error in units of the label's scale, 0 where a label is missing.

    The floor joins the label's own error in quadrature, so that no star with a tiny formal error rules.
    """
    ivar_NP, pixels = stars.ivar_NP, stars.ivar_NP.shape[1]
    noise_NP = np.divide(1, np.sqrt(ivar_NP), out=np.zeros_like(ivar_NP), where=ivar_NP > 0)
    scaling = scalers.inputs.part(0, pixels)
    error_NL = np.hypot(stars.error_NL, floor_L)
    # 1/0 is meant: infinite for a known label without an error (losses.robust), left out for a missing one.
    with np.errstate(divide="ignore"):
        inverse_NL = np.where(stars.known_NL, scalers.labels.scale / error_NL, 0)
    ones_P = np.ones(pixels, np.float32)
    arrays = {
        "x_NI": inputs_of(stars, scalers).x_NI,
        "sigma_NI": np.hstack([noise_NP / scaling.scale, np.zeros_like(stars.extra_NE)]),
        "y_NL": np.where(stars.known_NL, scalers.labels.apply(stars.label_NL), 0),
        "inverse_error_NL": inverse_NL,
        "label_scale_L": scalers.labels.scale,
        "centre_P": scaling.centre,
        "scale_P": scaling.scale,
        "missing_P": 0 * ones_P if scalers.wanted.missing == "centre" else scaling.apply(ones_P),
        "span_P": _span(scalers.wanted, pixels),
    }
    return of_arrays({name: np.asarray(array, np.float32) for name, array in arrays.items()})


def _span(wanted: Input, pixels: int) -> np.ndarray:
    """ln(wavelength) from one neighbour to the other; 0 at the ends of the grid and of its parts."""
    if not isinstance(wanted.grid, Grid):
        return np.zeros(pixels)
    wave_P, parts = np.log(wanted.grid.wave_P), wanted.parts or ((0, wanted.grid.pixels),)
    ln_P = np.concatenate([wave_P[start:stop] for start, stop in parts])
    step = np.diff(ln_P)
    near = step < GAP * np.median(step)
    span_P = np.zeros(pixels)
    span_P[1:-1] = np.where(near[1:] & near[:-1], step[1:] + step[:-1], 0)
    return span_P


def digest_of(*parts: Tensors) -> str:
    """sha256 over all numbers: what a training must find again to go on."""
    found = hashlib.sha256()
    for part in parts:
        for name, array in part.arrays().items():
            found.update(f"{name}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
