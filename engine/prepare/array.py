"""What numpy and torch do not spell alike: everything else in prepare is written once, against the array API.

A function asks `xp = array_namespace(x)` and computes where `x` lies: in numpy, or in torch on any device.
torch is imported by who needs a device: its import takes seconds and 130 MiB, and a commit computes in numpy.
"""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
from array_api_compat import array_namespace, is_torch_array

if TYPE_CHECKING:
    import torch

__all__ = [
    "Array",
    "array_namespace",
    "column",
    "constant",
    "flat_places",
    "median",
    "on_host",
    "place_of",
    "placed",
    "quiet",
    "search_rows",
    "take",
    "tensor",
]

# A numpy array or a torch tensor; the array API has no static type yet. Names end in axes, as everywhere.
Array: TypeAlias = Any


def tensor(spectra: pa.Table, name: str, on: "torch.device | None" = None) -> Array:
    """A tensor column, shape (N, …): in torch `on` a device, or in numpy, without a copy if of one chunk."""
    part = spectra[name]
    part = part.chunk(0) if part.num_chunks == 1 else part.combine_chunks()
    return placed(part.to_numpy_ndarray(), on)


def column(spectra: pa.Table, name: str, on: "torch.device | None" = None) -> Array:
    """A column of numbers as float64, shape (N,); null becomes NaN."""
    return placed(spectra[name].fill_null(np.nan).to_numpy().astype(np.float64), on)


def constant(values: np.ndarray, like: Array) -> Array:
    """A numpy array where `like` lies, of the same dtype as before; itself if that is numpy."""
    return placed(values, place_of(like))


def place_of(x: Array) -> "torch.device | None":
    """The device of a tensor; None for numpy."""
    return x.device if is_torch_array(x) else None


def placed(values: np.ndarray, on: "torch.device | None") -> Array:
    """A numpy array as a tensor on a device; itself where there is none."""
    if on is None:
        return values
    import torch

    # torch.tensor copies; from_numpy would warn that Arrow's memory cannot be written to.
    return torch.tensor(values, device=on)


def on_host(x: Array) -> np.ndarray:
    """An array in numpy, wherever it lies."""
    return x.cpu().numpy() if is_torch_array(x) else x


def quiet() -> np.errstate:
    """For divisions whose bad results `where` leaves out: numpy must not warn of them, torch never does."""
    return np.errstate(divide="ignore", invalid="ignore")


def median(x_NP: Array, good_NP: Array) -> Array:
    """Median of each row's good values, shape (N,); 0 for a row without any.

    By sorting: torch's own median is the lower of two middle values, numpy's knows no mask.
    """
    xp = array_namespace(x_NP)
    # Unless told so numpy sorts stably, in four times the time.
    sorted_NP = xp.sort(xp.where(good_NP, x_NP, xp.inf), axis=1, stable=False)
    count_N = xp.count_nonzero(good_NP, axis=1)
    middle_N2 = xp.stack([xp.clip(count_N - 1, min=0) // 2, count_N // 2], axis=1)
    pair_N2 = xp.take_along_axis(sorted_NP, xp.clip(middle_N2, max=x_NP.shape[1] - 1), axis=1)
    return xp.where(count_N > 0, (pair_N2[:, 0] + pair_N2[:, 1]) / 2, 0)


def flat_places(places_NQ: Array, pixels: int) -> Array:
    """Places in rows of so many pixels -> places in all rows, one after the other, for `take`."""
    starts_N = pixels * array_namespace(places_NQ).arange(places_NQ.shape[0], device=places_NQ.device)
    return places_NQ + starts_N[:, None]


def take(x_NP: Array, flat_NQ: Array) -> Array:
    """Values at flat places, shape (N, Q); numpy's take_along_axis takes several times as long."""
    xp = array_namespace(x_NP)
    found = xp.take(xp.reshape(x_NP, (-1,)), xp.reshape(flat_NQ, (-1,)), axis=0)
    return xp.reshape(found, flat_NQ.shape)


def search_rows(sorted_NP: Array, wanted_NQ: Array) -> Array:
    """How many values of each ascending row are at or below each wanted one, shape (N, Q).

    The array API searches in one row; torch can search in many at once, numpy cannot.
    """
    if is_torch_array(sorted_NP):
        import torch

        return torch.searchsorted(sorted_NP.contiguous(), wanted_NQ.contiguous(), side="right")
    found_NQ = np.empty(wanted_NQ.shape, np.int64)
    for n, wanted in enumerate(wanted_NQ):
        found_NQ[n] = np.searchsorted(sorted_NP[n], wanted, side="right")
    return found_NQ
