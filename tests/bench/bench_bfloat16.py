"""What bfloat16 would do to labels and their errors: why no card draws in it.

Products of bfloat16 are the same on a processor and on a card: 8 bits of each factor, summed in float32.
"""

import torch
from torch import Tensor

from engine.draw import Bank, bank_of
from engine.models import MODELS
from engine.spec import Sampling
from engine.types import Floats
from tests.bench.bench_gpu import DRAWS, batch, network_of
from tests.bench.bench_networks import CPU, NETWORKS

STARS = 32
AIMS = {
    **{f"{name}_shift_over_error": "<= 1e-3 to be of use" for name in NETWORKS},
    **{f"{name}_error_off_by": "<= 0.01 to be of use" for name in NETWORKS},
}


def bench() -> dict[str, float]:
    """For each network, if its draws are products of bfloat16 and what precedes the first dropout is not.

    `shift_over_error` is how far the label of any star moves, over its error; `error_off_by` the largest
    relative change of an error.
    """
    figures: dict[str, float] = {}
    for name in NETWORKS:
        network, some = network_of(MODELS[name]), batch(MODELS[name], STARS)
        bank = bank_of(network, Sampling(draws=DRAWS), CPU, grouped=True)
        (mean, error), (other, other_error) = (drawn(bank, some.x_NI, half=half) for half in (False, True))
        figures[f"{name}_shift_over_error"] = float(((other - mean).abs() / error).max())
        figures[f"{name}_error_off_by"] = float((other_error / error - 1).abs().max())
    return figures


def drawn(bank: Bank, x_NI: Floats, *, half: bool) -> tuple[Tensor, Tensor]:
    """Mean and scatter of all draws, shape (N, L)."""
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        with torch.autocast("cpu", enabled=False):
            columns = bank.once(torch.as_tensor(x_NI))
        value_KNL = bank.draws(columns).value_KNL.double()
    return value_KNL.mean(0), value_KNL.std(0)
