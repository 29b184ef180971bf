"""The principal components of the training spectra, and the spread around them."""

from dataclasses import replace

import numpy as np
import torch

from engine.models.model import finite_scale
from engine.support import Subspace, residuals, weights
from engine.train.dataset import LabelledSpectra
from engine.train.scalers import Scalers, inputs_of
from engine.types import Floats, Inputs

COMPONENTS = 24
MOST_STARS = 20_000
LEAST_SCATTER = 0.05
BRIGHT_SHARE = 0.25


def fit_subspace(training: LabelledSpectra, scalers: Scalers) -> Subspace:
    """Components and scatter of training stars."""
    inputs = inputs_of(training.take(np.arange(len(training))[:MOST_STARS]), scalers)
    x_NP = inputs.x_NI[:, : training.flux_NP.shape[1]]
    mean_P = x_NP.mean(axis=0)
    components = min(COMPONENTS, len(x_NP) // 4)
    torch.manual_seed(0)
    _, _, basis_PM = torch.pca_lowrank(torch.from_numpy(x_NP - mean_P), q=components, center=False)
    subspace = Subspace(
        mean_P=mean_P,
        components_MP=np.ascontiguousarray(basis_PM.numpy().T),
        scatter_P=np.full_like(mean_P, LEAST_SCATTER),
        scale_P=finite_scale(scalers.inputs)[: len(mean_P)],
    )
    return replace(subspace, scatter_P=_scatter(inputs, x_NP, subspace))


def _scatter(inputs: Inputs, x_NP: Floats, subspace: Subspace) -> Floats:
    """The spread around the components that noise does not explain, from the brightest quarter of the stars.

    In faint stars the noise hides it, and bright ones would then all look unlike the rest.
    """
    residual_NP = residuals(x_NP, weights(inputs.spectra.ivar_NP, subspace), subspace)
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
