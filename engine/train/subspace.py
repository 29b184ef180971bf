"""The principal components of the training spectra, and how far held-out stars lie from them."""

from dataclasses import replace

import numpy as np
import torch

from engine.models.model import finite_scale, scale_inputs
from engine.prepare.scale import Affine
from engine.support import Subspace, distance, residuals, weights
from engine.train.dataset import LabelledSpectra
from engine.train.loop import as_normalised
from engine.types import Floats, Inputs

COMPONENTS = 24
MOST_STARS = 20_000
FALSE_ALARMS = 0.01
LEAST_SCATTER = 0.05
BRIGHT_SHARE = 0.25


def fit_subspace(training: LabelledSpectra, held_out: LabelledSpectra, pixel_scale: Affine) -> Subspace:
    """Components and scatter from training stars, the threshold from held-out ones."""
    inputs = scale_inputs(as_normalised(training.take(np.arange(len(training))[:MOST_STARS])), pixel_scale)
    mean_P = inputs.x_NP.mean(axis=0)
    components = min(COMPONENTS, len(inputs.x_NP) // 4)
    torch.manual_seed(0)
    _, _, basis_PM = torch.pca_lowrank(torch.from_numpy(inputs.x_NP - mean_P), q=components, center=False)
    subspace = Subspace(
        mean_P=mean_P,
        components_MP=np.ascontiguousarray(basis_PM.numpy().T),
        scatter_P=np.full_like(mean_P, LEAST_SCATTER),
        scale_P=finite_scale(pixel_scale),
        threshold=np.inf,
    )
    subspace = replace(subspace, scatter_P=_scatter(inputs, subspace))
    chi2_N = distance(scale_inputs(as_normalised(held_out), pixel_scale), subspace)
    return replace(subspace, threshold=float(np.nanquantile(chi2_N, 1 - FALSE_ALARMS)))


def _scatter(inputs: Inputs, subspace: Subspace) -> Floats:
    """The spread around the components that noise does not explain, from the brightest quarter of the stars.

    In faint stars the noise hides it, and bright ones would then all look unlike the rest.
    """
    weight_NP = weights(inputs, subspace)
    residual_NP = residuals(inputs.x_NP, weight_NP, subspace.mean_P, subspace.components_MP)
    ivar_NP = inputs.spectra.ivar_NP * subspace.scale_P**2
    depth_N = np.median(ivar_NP, axis=1)
    bright_N = depth_N >= np.quantile(depth_N, 1 - BRIGHT_SHARE)
    ivar_NP, residual_NP = ivar_NP[bright_N], residual_NP[bright_N]
    good_NP = ivar_NP > 0
    noise_NP = np.divide(1, ivar_NP, out=np.zeros_like(ivar_NP), where=good_NP)
    excess_P = np.where(good_NP, residual_NP**2 - noise_NP, 0).sum(axis=0) / np.maximum(
        good_NP.sum(axis=0), 1
    )
    return np.sqrt(np.maximum(excess_P, LEAST_SCATTER**2)).astype(np.float32)
