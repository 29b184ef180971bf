"""One readable training loop in plain torch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import RunError
from engine.models.model import scale_inputs
from engine.prepare.scale import Affine
from engine.spec import Training
from engine.train.dataset import LabelledSpectra
from engine.types import Floats, Normalised


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one epoch reached: mean chi-square per known label on training and validation stars."""

    number: int
    train_loss: float
    validation_loss: float
    best: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """A part of the training set in the network's units; `sigma_NP` is each pixel's noise, 0 if missing."""

    x_NP: Tensor
    sigma_NP: Tensor
    y_NL: Tensor
    inverse_error_NL: Tensor


def to_tensors(stars: LabelledSpectra, pixel_scale: Affine, label_scale: Affine, floor_L: Floats) -> Tensors:
    """Scaled pixels, labels and weights: 1/error in units of the label's scale, 0 where a label is missing.

    The floor joins the label's own error in quadrature, so that no star with a tiny formal error rules.
    """
    ivar_NP = stars.ivar_NP
    sigma_NP = (
        np.divide(1, np.sqrt(ivar_NP), out=np.zeros_like(ivar_NP), where=ivar_NP > 0) / pixel_scale.scale
    )
    weight_NL = np.where(stars.known_NL, label_scale.scale / np.hypot(stars.error_NL, floor_L), 0)
    y_NL = np.where(stars.known_NL, label_scale.apply(stars.label_NL), 0)
    inputs = scale_inputs(as_normalised(stars), pixel_scale)
    return Tensors(
        x_NP=torch.from_numpy(inputs.x_NP),
        sigma_NP=torch.from_numpy(sigma_NP),
        y_NL=torch.from_numpy(y_NL.astype(np.float32)),
        inverse_error_NL=torch.from_numpy(weight_NL.astype(np.float32)),
    )


def as_normalised(stars: LabelledSpectra) -> Normalised:
    """The spectra alone, as the model's preparation gives them."""
    none_N = np.zeros(len(stars), np.int32)
    good_N = (stars.ivar_NP > 0).mean(axis=1, dtype=np.float32)
    return Normalised(
        flux_NP=stars.flux_NP,
        ivar_NP=stars.ivar_NP,
        snr_N=np.zeros(len(stars), np.float32),
        lit_fraction_N=good_N,
        good_fraction_N=good_N,
        nonfinite_N=none_N,
        spikes_N=none_N,
    )


def chi2(predicted_NL: Tensor, y_NL: Tensor, inverse_error_NL: Tensor) -> Tensor:
    """Mean over known labels of ((y - f) / sigma)², Lee et al. eq. 1 with missing labels masked."""
    residual_NL = (predicted_NL - y_NL) * inverse_error_NL
    return residual_NL.square().sum() / (inverse_error_NL > 0).sum().clamp(min=1)


def fit(
    network: nn.Sequential,
    train: Tensors,
    validation: Tensors,
    settings: Training,
    on_epoch: Callable[[Epoch], None],
) -> list[Epoch]:
    """Train in place and leave the weights of the best validation epoch; the history comes back.

    RunError when the loss is no longer a number.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
    best_loss, best_state, history = float("inf"), network.state_dict(), []
    for number in range(1, settings.epochs + 1):
        train_loss = _one_epoch(network, train, optimiser, settings, generator)
        schedule.step()
        validation_loss = _loss(network, validation)
        if not np.isfinite(train_loss + validation_loss):
            raise RunError(f"the loss became NaN in epoch {number}; lower [training] learning_rate")
        better = validation_loss < best_loss
        if better:
            best_loss = validation_loss
            best_state = {name: value.clone() for name, value in network.state_dict().items()}
        epoch = Epoch(number=number, train_loss=train_loss, validation_loss=validation_loss, best=better)
        history.append(epoch)
        on_epoch(epoch)
    network.load_state_dict(best_state)
    return history


def _one_epoch(
    network: nn.Sequential,
    train: Tensors,
    optimiser: torch.optim.Optimizer,
    settings: Training,
    generator: torch.Generator,
) -> float:
    network.train()
    losses = []
    for rows in torch.randperm(len(train.x_NP), generator=generator).split(settings.batch):
        x_NP = train.x_NP[rows]
        if settings.noise > 0:
            x_NP = x_NP + _noise(train.sigma_NP[rows], settings.noise, generator)
        loss = chi2(network(x_NP), train.y_NL[rows], train.inverse_error_NL[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item() * len(rows))
    return sum(losses) / len(train.x_NP)


def _noise(sigma_NP: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Extra noise per star: each pixel's own sigma times a factor uniform in [0, most]."""
    factor_N1 = torch.rand((len(sigma_NP), 1), generator=generator) * most
    return torch.randn(sigma_NP.shape, generator=generator).mul_(sigma_NP).mul_(factor_N1)


def _loss(network: nn.Sequential, stars: Tensors) -> float:
    network.eval()
    with torch.inference_mode():
        return chi2(network(stars.x_NP), stars.y_NL, stars.inverse_error_NL).item()
