"""Is this star inside the training set? Box limits per label and side, and a distance from its spectra."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.types import Estimates, Floats, Inputs, Label, Support

BELOW, ABOVE, NO_LABEL = 1, 2, 4

# With less than this share of good pixels a spectrum says too little to label.
LEAST_GOOD_FRACTION = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Subspace:
    """What spectra of the training set look like: a mean and M principal components of scaled inputs.

    `scale_P` is 0 where the model does not use a pixel, which then counts as missing.

    `scatter_P` is the spread around them that noise does not explain, `scale_P` turns ivar of normalised
    flux into that of scaled inputs, and `threshold` is the distance that one held-out star in a hundred
    exceeds.
    """

    mean_P: Floats
    components_MP: Floats
    scatter_P: Floats
    scale_P: Floats
    threshold: float


def assess(
    inputs: Inputs, estimates: Estimates, *, labels: tuple[Label, ...], subspace: Subspace | None
) -> Support:
    """Where N stars stand to the training set; without a subspace no star counts as unlike it."""
    chi2_N = distance(inputs, subspace)
    threshold = np.inf if subspace is None else subspace.threshold
    return Support(label_NL=label_bits(estimates, labels), chi2_N=chi2_N, unlike_N=chi2_N > threshold)


def label_bits(estimates: Estimates, labels: tuple[Label, ...]) -> npt.NDArray[np.int16]:
    """Bits per star and label, shape (N, L): 1 below, 2 above the training range, 4 no result."""
    low_L = np.array([label.low for label in labels], np.float32)
    high_L = np.array([label.high for label in labels], np.float32)
    centre_NL = estimates.centre_NL
    bits_NL = np.where(centre_NL < low_L, BELOW, 0) | np.where(centre_NL > high_L, ABOVE, 0)
    return np.where(estimates.usable_N[:, None], bits_NL, NO_LABEL).astype(np.int16)


def distance(inputs: Inputs, subspace: Subspace | None) -> Floats:
    """Mean over good pixels of (residual from the subspace)² / (noise² + scatter²), shape (N,).

    About 1 for a star like those of the training set: a network answers a star it has never seen the like
    of with labels from inside its range, which box limits cannot tell. NaN for unusable stars and without
    a subspace.
    """
    if subspace is None:
        return np.full(len(inputs.x_NP), np.nan, np.float32)
    weight_NP = weights(inputs, subspace)
    residual_NP = residuals(inputs.x_NP, weight_NP, subspace.mean_P, subspace.components_MP)
    chi2_N = np.einsum("np,np,np->n", residual_NP, residual_NP, weight_NP)
    mean_N = chi2_N / np.maximum(np.count_nonzero(weight_NP, axis=1), 1)
    return np.where(inputs.usable_N, mean_N, np.nan).astype(np.float32)


def weights(inputs: Inputs, subspace: Subspace) -> Floats:
    """1 / (noise² + scatter²) of scaled inputs, 0 where a pixel is missing, shape (N, P)."""
    ivar_NP = inputs.spectra.ivar_NP * subspace.scale_P**2
    return (ivar_NP / (1 + ivar_NP * subspace.scatter_P**2)).astype(np.float32, copy=False)


def residuals(x_NP: Floats, weight_NP: Floats, mean_P: Floats, components_MP: Floats) -> Floats:
    """What the best fitting sum of components leaves of each spectrum, in its good pixels.

    Weighted least squares star by star, so that missing pixels leave the fit instead of pulling it. The
    ridge of 1e-3 of the mean weight keeps stars with few pixels solvable.
    """
    centred_NP = x_NP - mean_P
    parts = len(components_MP)
    upper = np.triu_indices(parts)
    normal_NMM = np.empty((len(x_NP), parts, parts), np.float32)
    normal_NMM[:, *upper] = weight_NP @ (components_MP[upper[0]] * components_MP[upper[1]]).T
    normal_NMM[:, *upper[::-1]] = normal_NMM[:, *upper]
    ridge_N = 1e-3 * np.maximum(weight_NP.mean(axis=1), np.float32(1e-12))
    normal_NMM += ridge_N[:, None, None] * np.eye(parts, dtype=np.float32)
    right_NM = (weight_NP * centred_NP) @ components_MP.T
    amplitude_NM = np.linalg.solve(normal_NMM, right_NM[..., None])[..., 0]
    return (centred_NP - amplitude_NM.astype(np.float32) @ components_MP).astype(np.float32, copy=False)
