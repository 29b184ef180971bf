"""What spectra go through in training alone: wrong velocities, more noise, lost pixels.

Each is a pure function of the spectra and of a generator, on whatever device they are.
"""

import torch
from torch import Generator, Tensor

from engine.train.spec import Training
from engine.train.tensors import Tensors

LIGHT_KM_S = 299_792.458


def augmented(stars: Tensors, settings: Training, generator: Generator) -> Tensor:
    """The inputs of some stars, changed in the ways that the settings ask for; the same where for none."""
    x_NI, sigma_NI = stars.x_NI, stars.sigma_NI
    if settings.velocity_error > 0:
        x_NI = shifted(x_NI, sigma_NI, stars, settings.velocity_error, generator)
    if settings.noise > 0:
        x_NI = x_NI + noise(sigma_NI, settings.noise, generator)
    if settings.mask_pixels > 0:
        x_NI = masked(x_NI, stars, settings.mask_pixels, generator)
    return x_NI


def noise(sigma_NI: Tensor, most: float, generator: Generator) -> Tensor:
    """Extra noise per star: each pixel's own sigma times a factor uniform in [0, most]."""
    factor_N1 = torch.rand((len(sigma_NI), 1), generator=generator, device=sigma_NI.device) * most
    drawn_NI = torch.randn(sigma_NI.shape, generator=generator, device=sigma_NI.device)
    return drawn_NI.mul_(sigma_NI).mul_(factor_N1)


def masked(x_NI: Tensor, stars: Tensors, share: float, generator: Generator) -> Tensor:
    """Each pixel is lost with this chance, and lies where a missing pixel does."""
    pixels = len(stars.missing_P)
    lost_NP = torch.rand((len(x_NI), pixels), generator=generator, device=x_NI.device) < share
    return torch.cat([torch.where(lost_NP, stars.missing_P, x_NI[:, :pixels]), x_NI[:, pixels:]], dim=1)


def shifted(
    x_NI: Tensor, sigma_NI: Tensor, stars: Tensors, sigma_km_s: float, generator: Generator
) -> Tensor:
    """Each star as if its velocity had been wrong by a Gaussian error: f - (df / d ln wavelength) v / c.

    To first order, so for errors of up to about a pixel. A pixel without two good neighbours stays.
    """
    pixels = len(stars.span_P)
    velocity_N1 = sigma_km_s * torch.randn((len(x_NI), 1), generator=generator, device=x_NI.device)
    used_P = torch.isfinite(stars.scale_P)
    scale_P = torch.where(used_P, stars.scale_P, 0)
    flux_NP = x_NI[:, :pixels] * scale_P + stars.centre_P
    good_NP = (sigma_NI[:, :pixels] > 0) & used_P
    inner_NP = good_NP & good_NP.roll(1, 1) & good_NP.roll(-1, 1) & (stars.span_P > 0)
    rise_NP = (flux_NP.roll(-1, 1) - flux_NP.roll(1, 1)) / (stars.span_P * stars.scale_P)
    change_NP = torch.where(inner_NP, rise_NP * velocity_N1 / LIGHT_KM_S, 0)
    return torch.cat([x_NI[:, :pixels] - change_NP, x_NI[:, pixels:]], dim=1)
