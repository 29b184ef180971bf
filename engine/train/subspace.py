"""The principal components of the training spectra, and how far held-out stars lie from them."""

from dataclasses import replace

import numpy as np
import torch

from engine.models.model import scale_inputs
from engine.prepare.scale import Affine
from engine.support import Subspace, distance, residuals
from engine.train.dataset import LabelledSpectra
from engine.train.loop import as_normalised

COMPONENTS = 24
MOST_STARS = 20_000
FALSE_ALARMS = 0.01
LEAST_SCATTER = 0.05


def fit_subspace(training: LabelledSpectra, held_out: LabelledSpectra, pixel_scale: Affine) -> Subspace:
    """Components and scatter from training stars, the threshold from held-out ones."""
    inputs = scale_inputs(as_normalised(training.take(np.arange(len(training))[:MOST_STARS])), pixel_scale)
    mean_P = inputs.x_NP.mean(axis=0)
    components = min(COMPONENTS, len(inputs.x_NP) // 4)
    torch.manual_seed(0)
    _, _, basis_PM = torch.pca_lowrank(torch.from_numpy(inputs.x_NP - mean_P), q=components, center=False)
    components_MP = np.ascontiguousarray(basis_PM.numpy().T)
    residual_NP = residuals(inputs.x_NP, mean_P, components_MP)
    ivar_NP = inputs.spectra.ivar_NP * pixel_scale.scale**2
    good_NP = ivar_NP > 0
    noise_NP = np.divide(1, ivar_NP, out=np.zeros_like(ivar_NP), where=good_NP)
    excess_P = np.where(good_NP, residual_NP**2 - noise_NP, 0).sum(axis=0) / np.maximum(
        good_NP.sum(axis=0), 1
    )
    subspace = Subspace(
        mean_P=mean_P,
        components_MP=components_MP,
        scatter_P=np.sqrt(np.maximum(excess_P, LEAST_SCATTER**2)).astype(np.float32),
        scale_P=pixel_scale.scale,
        threshold=np.inf,
    )
    chi2_N = distance(scale_inputs(as_normalised(held_out), pixel_scale), subspace)
    return replace(subspace, threshold=float(np.nanquantile(chi2_N, 1 - FALSE_ALARMS)))
