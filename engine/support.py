"""Is this star inside the training set? Box limits per label and side, and a distance from its spectra."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.types import Estimates, Floats, Inputs, Label, Support

BELOW, ABOVE, NO_LABEL = 1, 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Subspace:
    """What spectra of the training set look like: a mean and M principal components of scaled inputs.

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

    About 1 for a star like those of the training set at any S/N: a network answers a star it has never
    seen the like of with labels from inside its range, which box limits cannot tell. NaN for unusable
    stars and without a subspace.
    """
    if subspace is None:
        return np.full(len(inputs.x_NP), np.nan, np.float32)
    residual_NP = residuals(inputs.x_NP, subspace.mean_P, subspace.components_MP)
    ivar_NP = inputs.spectra.ivar_NP * subspace.scale_P**2
    weight_NP = ivar_NP / (1 + ivar_NP * subspace.scatter_P**2)
    good_N = np.count_nonzero(ivar_NP, axis=1)
    chi2_N = np.einsum("np,np,np->n", residual_NP, residual_NP, weight_NP)
    mean_N = chi2_N / np.maximum(good_N, 1)
    return np.where(inputs.usable_N, mean_N, np.nan).astype(np.float32)


def residuals(x_NP: Floats, mean_P: Floats, components_MP: Floats) -> Floats:
    """What orthonormal components leave of each spectrum; missing pixels count as the median star."""
    centred_NP = x_NP - mean_P
    return (centred_NP - (centred_NP @ components_MP.T) @ components_MP).astype(np.float32, copy=False)
