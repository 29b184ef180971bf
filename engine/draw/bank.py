"""A trained network as K draws, and all draws of N stars."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from engine.draw.masks import Masks
from engine.draw.network import Columns, Drawn, Network, one_by_one
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
    draws: Drawn
    hidden: Callable[[Tensor], Tensor]
    device: torch.device


class Computed(NamedTuple):
    """What banks give for N stars, on their device: draws along K, and the last hidden layer of the first."""

    value_KNL: Tensor
    log_variance_KNL: Tensor | None
    hidden_NH: Tensor


def bank_of(
    network: Network, sampling: Sampling, device: torch.device, *, grouped: bool | None = None
) -> Bank:
    """The bank of a network: its thinned networks, or itself alone where no dropout is asked for.

    The network goes to the device and into evaluation mode: its dropout comes from the masks alone. Draws
    are `grouped` where launches cost more than memory: on a card. ValueError for a network that has no
    dropout to draw from, or cannot be thinned.
    """
    network.to(device).eval()
    if sampling.draws == 0:
        alone = one_by_one([lambda columns: network(columns[0])])
        return Bank(once=lambda x_NI: (x_NI,), draws=alone, hidden=network.hidden, device=device)
    masks_K = [Masks(seed=sampling.seed, draw=k, device=device) for k in range(sampling.draws)]
    if grouped if grouped is not None else device.type != "cpu":
        draws = network.grouped(masks_K)
    else:
        draws = one_by_one([network.thinned(masks) for masks in masks_K])
    return Bank(once=network.once, draws=draws, hidden=network.hidden, device=device)


def draw(banks: Sequence[Bank], inputs: Inputs) -> Draws:
    """All draws of all networks for N stars: members of an ensemble follow one another along K.

    The last hidden layer is that of the first network. UnexpectedNaN when a usable star gets an output that
    is not finite.
    """
    with torch.inference_mode():
        given_NI = torch.as_tensor(inputs.x_NI, device=banks[0].device)
        x_NI = nn.functional.pad(given_NI, (0, 0, 0, -len(given_NI) % STARS_TOGETHER))
        return as_draws(compute(banks, x_NI), inputs)


def compute(banks: Sequence[Bank], x_NI: Tensor) -> Computed:
    """All draws of all networks, where they are."""
    outputs = [bank.draws(bank.once(x_NI)) for bank in banks]
    variances = [output.log_variance_KNL for output in outputs if output.log_variance_KNL is not None]
    return Computed(
        value_KNL=torch.cat([output.value_KNL for output in outputs]),
        log_variance_KNL=torch.cat(variances) if variances else None,
        hidden_NH=banks[0].hidden(x_NI),
    )


def as_draws(found: Computed, inputs: Inputs) -> Draws:
    """What was computed as arrays, without the rows that filled it up; UnexpectedNaN as `draw` says."""
    rows = len(inputs.x_NI)
    variance_KNL = found.log_variance_KNL
    draws = Draws(
        value_KNL=_array(found.value_KNL[:, :rows]),
        log_variance_KNL=None if variance_KNL is None else _array(variance_KNL[:, :rows]),
        hidden_NH=_array(found.hidden_NH[:rows]),
    )
    for found_KNL in (draws.value_KNL, draws.log_variance_KNL):
        if found_KNL is not None:
            _refuse_nan(found_KNL, inputs)
    return draws


def _array(tensor: Tensor) -> Floats:
    """A copy: what a card's batch came back in is soon another's."""
    return np.array(tensor.numpy(force=True), order="C")


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
