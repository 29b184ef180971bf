"""What a network is trained with, in the label's scaled units.

`inverse_error_NL` is 1 over the label's own error in units of its scale, 0 where the label is missing.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from engine.draw import Output

Loss: TypeAlias = Callable[[Output, Tensor, Tensor], Tensor]


def chi2(output: Output, y_NL: Tensor, inverse_error_NL: Tensor) -> Tensor:
    """Mean over known labels of ((y - f) / sigma)², Lee et al. eq. 1 with missing labels masked."""
    residual_NL = (output.value_NL - y_NL) * inverse_error_NL
    return residual_NL.square().sum() / (inverse_error_NL > 0).sum().clamp(min=1)


def mse(output: Output, y_NL: Tensor, inverse_error_NL: Tensor) -> Tensor:
    """Mean squared residual over known labels, which all count alike (Guiglion et al. 2020)."""
    known_NL = inverse_error_NL > 0
    residual_NL = torch.where(known_NL, output.value_NL - y_NL, 0)
    return residual_NL.square().sum() / known_NL.sum().clamp(min=1)


def robust(output: Output, y_NL: Tensor, inverse_error_NL: Tensor) -> Tensor:
    """Gaussian likelihood with known errors and predicted variance exp(s): astroNN's robust_mse in losses.py.

    Per star 0.5 ((y - f)² / v + ln v), v = exp(s) + sigma², averaged over the labels that it has. A label
    without an error of its own has sigma = 0: its inverse error is infinite.
    """
    assert output.log_variance_NL is not None
    known_NL = inverse_error_NL > 0
    sigma_NL = torch.where(known_NL, 1 / inverse_error_NL.clamp(min=1e-12), 1)
    variance_NL = output.log_variance_NL.exp() + sigma_NL.square()
    terms_NL = 0.5 * ((y_NL - output.value_NL).square() / variance_NL + variance_NL.log())
    per_star_N = torch.where(known_NL, terms_NL, 0).sum(dim=1) / known_NL.sum(dim=1).clamp(min=1)
    return per_star_N.mean()


LOSSES: Mapping[str, Loss] = {"chi2": chi2, "mse": mse, "robust": robust}
