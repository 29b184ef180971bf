"""How far spectra lie from the training set's principal components; computed where the pixels are.

Two sums of the same residuals: over pixels, which tells spectra of another kind, and over bins of pixels,
which tells what is slow and may lie below the noise of a pixel, such as ripples. N rows, P pixels, B bins,
M components, Q pairs of components.
"""

import numpy as np

from engine.prepare.array import Array, array_namespace, constant, on_host, place_of
from engine.support.fit import Fitting, fitting_of, residuals_of, weights
from engine.support.records import Subspace
from engine.types import Floats, Inputs

# Rows at a time: as many as a core's cache holds, or as a device's memory surely does.
CACHED_ROWS, DEVICE_ROWS = 128, 4096
BIN_PIXELS = 16
"""Pixels of a bin: ripples of four bins or more (50 A in DESI) add up in it. The continuum takes out those
that are longer than about 200 A."""
LEAST_BINS = 16
NAMES = ("support_chi2", "wiggle", "largest_gap")
PIXEL_SCORES = frozenset(NAMES)


def pixel_scores(inputs: Inputs, subspace: Subspace) -> dict[str, Floats]:
    """Scores by the names of their columns, shape (N,), NaN for unusable stars.

    `support_chi2` is the mean over good pixels of (residual from the subspace)² / (noise² + scatter²), about
    1 for a star like those of the training set: a network answers a star it has never seen the like of with
    labels from inside its range, which box limits cannot tell. `wiggle` is the same over bins of residuals,
    left out where there are few bins. `largest_gap` is the longest run of missing pixels.
    """
    pixels, ivar_NP = len(subspace.mean_P), inputs.spectra.ivar_NP
    rows = CACHED_ROWS if place_of(ivar_NP) is None else DEVICE_ROWS
    fitting = fitting_of(subspace, place_of(ivar_NP))
    parts = [
        _scores(inputs.x_NI[start : start + rows, :pixels], ivar_NP[start : start + rows], subspace, fitting)
        for start in range(0, max(len(ivar_NP), 1), rows)
    ]
    return {
        name: np.where(inputs.usable_N, np.concatenate(columns), np.nan).astype(np.float32)
        for name, *columns in zip(NAMES, *parts, strict=True)
        if name != "wiggle" or pixels >= LEAST_BINS * BIN_PIXELS
    }


def _scores(x_NP: Array, ivar_NP: Array, subspace: Subspace, fitting: Fitting) -> tuple[np.ndarray, ...]:
    """Of some stars the scores in the order of NAMES, on the host."""
    xp = array_namespace(x_NP)
    weight_NP = weights(ivar_NP, subspace)
    residual_NP = residuals_of(x_NP, weight_NP, fitting)
    pull_NP = residual_NP * weight_NP
    count_N = xp.count_nonzero(weight_NP, axis=1)
    # Both libraries have einsum, though the array API has not; numpy's sum takes four times as long.
    chi2_N = xp.einsum("np,np->n", pull_NP, residual_NP) / xp.clip(count_N, min=1)
    return on_host(chi2_N), on_host(_wiggle(pull_NP, weight_NP)), _gap(ivar_NP, subspace)


def _wiggle(pull_NP: Array, weight_NP: Array) -> Array:
    """Mean over bins of (weighted mean residual / its error)², shape (N,)."""
    xp = array_namespace(pull_NP)
    pull_NB, weight_NB = _binned(pull_NP), _binned(weight_NP)
    count_N = xp.clip(xp.count_nonzero(weight_NB, axis=1), min=1)
    return xp.sum(pull_NB**2 / xp.clip(weight_NB, min=1e-20), axis=1) / count_N


def _binned(x_NP: Array) -> Array:
    """Sums over whole bins, shape (N, B)."""
    xp, (rows, pixels) = array_namespace(x_NP), x_NP.shape
    bins = pixels // BIN_PIXELS
    return xp.einsum("nbp->nb", xp.reshape(x_NP[:, : bins * BIN_PIXELS], (rows, bins, BIN_PIXELS)))


def _gap(ivar_NP: Array, subspace: Subspace) -> np.ndarray:
    """The longest run of missing pixels, on the host, shape (N,); what the model does not use ends a run."""
    xp, rows = array_namespace(ivar_NP), ivar_NP.shape[0]
    missing_NP = (ivar_NP <= 0) & constant(subspace.scale_P > 0, ivar_NP)
    none_N1 = xp.zeros((rows, 1), dtype=xp.bool, device=ivar_NP.device)
    missing_NP = xp.concat([none_N1, missing_NP, none_N1], axis=1)
    # In one row, since numpy finds places in two dimensions slowly; a run never reaches the next star.
    missing = xp.reshape(missing_NP, (-1,))
    first_R = on_host(xp.nonzero(missing[1:] & ~missing[:-1])[0])
    after_R = on_host(xp.nonzero(missing[:-1] & ~missing[1:])[0])
    row_R, longest_N = first_R // missing_NP.shape[1], np.zeros(rows, np.int64)
    np.maximum.at(longest_N, row_R, after_R - first_R)
    return longest_N
