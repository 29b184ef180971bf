"""A trained network as K draws, and all draws of N stars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from engine.draw.masks import Masks
from engine.draw.network import Columns, Network, Output, Thinned
from engine.errors import UnexpectedNaN
from engine.spec import Sampling
from engine.types import Draws, Floats, Inputs

# Matrix products round by where in a block of columns a star stands, and by how full the last block is. In
# whole blocks (a register of AVX-512 holds so many float32) neither its place nor its neighbours matter.
STARS_TOGETHER = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Bank:
    """One network as K: a part that is computed once per star, then K draws of the rest.

    `hidden` gives the last hidden layer of the network itself, shape (N, H).
    """

    once: Callable[[Tensor], Columns]
    draws_K: tuple[Thinned, ...]
    hidden: Callable[[Tensor], Tensor]
    device: torch.device

    @property
    def away(self) -> torch.device | None:
        """Where it computes if that is not the host."""
        return None if self.device.type == "cpu" else self.device


def bank_of(network: Network, sampling: Sampling, device: torch.device) -> Bank:
    """The bank of a network: its thinned networks, or itself alone where no dropout is asked for.

    The network goes to the device and into evaluation mode: its dropout comes from the masks alone.
    ValueError for a network that has no dropout to draw from, or cannot be thinned.
    """
    network.to(device).eval()
    if sampling.draws == 0:
        return Bank(
            once=lambda x_NI: (x_NI,),
            draws_K=(lambda columns: network(columns[0]),),
            hidden=network.hidden,
            device=device,
        )
    masks = (Masks(seed=sampling.seed, draw=k, device=device) for k in range(sampling.draws))
    draws_K = tuple(network.thinned(mask) for mask in masks)
    return Bank(once=network.once, draws_K=draws_K, hidden=network.hidden, device=device)


def draw(banks: Sequence[Bank], inputs: Inputs) -> Draws:
    """All draws of all networks for N stars: members of an ensemble follow one another along K.

    The last hidden layer is that of the first network. UnexpectedNaN when a usable star gets an output that
    is not finite.
    """
    with torch.inference_mode():
        given_NI = torch.as_tensor(inputs.x_NI, device=banks[0].device)
        rows = len(given_NI)
        x_NI = nn.functional.pad(given_NI, (0, 0, 0, -rows % STARS_TOGETHER))
        outputs_K = [output for bank in banks for output in _outputs(bank, x_NI)]
        hidden_NH = banks[0].hidden(x_NI)[:rows].cpu().numpy()
    value_KNL = _stacked([output.value_NL[:rows] for output in outputs_K])
    variances = [output.log_variance_NL[:rows] for output in outputs_K if output.log_variance_NL is not None]
    log_variance_KNL = _stacked(variances) if variances else None
    for found_KNL in (value_KNL, log_variance_KNL):
        if found_KNL is not None:
            _refuse_nan(found_KNL, inputs)
    return Draws(value_KNL=value_KNL, log_variance_KNL=log_variance_KNL, hidden_NH=hidden_NH)


def _outputs(bank: Bank, x_NI: Tensor) -> list[Output]:
    columns = bank.once(x_NI)
    return [thinned(columns) for thinned in bank.draws_K]


def _stacked(parts: Sequence[Tensor]) -> Floats:
    return torch.stack(list(parts)).cpu().numpy()


def _refuse_nan(found_KNL: Floats, inputs: Inputs) -> None:
    bad_N = ~np.isfinite(found_KNL).all(axis=(0, 2)) & inputs.usable_N
    if bad_N.any():
        given = torch.as_tensor(inputs.x_NI)
        source = (
            "the bundle's weights are broken"
            if bool(torch.isfinite(given).all())
            else "so was what prepare gave"
        )
        raise UnexpectedNaN(
            f"the network gave NaN or infinity for {bad_N.sum()} of {len(bad_N)} spectra, "
            f"first at row {int(bad_N.argmax())} of its batch: {source}"
        )
