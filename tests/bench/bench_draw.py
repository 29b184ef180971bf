"""MC-dropout on the DESI MLP, K = 100: the thinned bank, a plain loop, and the machine itself."""

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch import nn

from engine.draw import Bank, draw, thin
from engine.models import MODELS
from engine.spec import Sampling
from engine.types import Inputs
from tests.unit.test_draw import inputs as some_inputs
from tests.unit.test_draw import masked_loop

ROWS, LABELS, DROPOUT = 512, 16, 0.2
ROUNDS, PAIRS, PRODUCTS, SIDE = 3, 5, 2, 2048
SAMPLING = Sampling(draws=100, seed=1)


def bench() -> dict[str, float]:
    """Stars per second and ratios, one thread.

    `bank_over_matrix_rate` is the bank's floating-point rate on the thinned work over that of 2048 x 2048
    matrix products measured right before and after it; `bank_over_loop` compares with the whole network
    in training mode K times. Both are medians of ratios within rounds, since the machine's own speed
    drifts by a factor of two. `largest_absolute_difference` is against multiplying by the same masks.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = MODELS["desi_mlp_4"]
    hyper = model.hyper.model_copy(update={"dropout": DROPOUT})
    network = model.build(hyper, model.input.grid.pixels, LABELS).eval().requires_grad_(False)
    inputs, bank = (
        some_inputs(ROWS, pixels=model.input.grid.pixels),
        thin(network, SAMPLING, torch.device("cpu")),
    )
    x = torch.from_numpy(inputs.x_NP)
    rounds = [one_round(bank, network, inputs, x) for _ in range(ROUNDS)]
    found, expected = draw((bank,), inputs).value_KNL, masked_loop(network, x, SAMPLING).numpy()
    names = (
        "bank_stars_per_s",
        "loop_stars_per_s",
        "bank_over_loop",
        "machine_gflops",
        "bank_over_matrix_rate",
    )
    figures = {name: median(values) for name, values in zip(names, zip(*rounds, strict=True), strict=True)}
    return figures | {"largest_absolute_difference": float(np.abs(found - expected).max())}


def one_round(bank: Bank, network: nn.Sequential, inputs: Inputs, x: torch.Tensor) -> tuple[float, ...]:
    """The five rates and ratios of one round."""
    square = torch.randn(SIDE, SIDE)
    pairs = []
    for _ in range(PAIRS):
        around = timed(lambda: [square @ square for _ in range(PRODUCTS)])
        bank_s = timed(lambda: draw((bank,), inputs))
        around += timed(lambda: [square @ square for _ in range(PRODUCTS)])
        machine = 2 * PRODUCTS * 2 * SIDE**3 / around
        pairs.append((bank_s, machine, operations(bank) / bank_s / machine))
    bank_s, machine, share = (median(values) for values in zip(*pairs, strict=True))
    loop_s = timed(lambda: dropout_loop(network, x))
    return ROWS / bank_s, ROWS / loop_s, loop_s / bank_s, machine / 1e9, share


def dropout_loop(network: nn.Sequential, x: torch.Tensor) -> None:
    """What one writes first: the whole network in training mode, K times."""
    with torch.inference_mode():
        network.train()
        for _ in range(SAMPLING.draws):
            network(x)
        network.eval()


def operations(bank: Bank) -> int:
    """Floating-point operations of the prefix and of all thinned layers for the rows."""
    prefix = sum(layer.weight.numel() for layer in bank.prefix if isinstance(layer, nn.Linear))
    thinned = sum(layer.weight_OI.numel() for layers in bank.thinned_K for layer in layers)
    return 2 * ROWS * (prefix + thinned)


def timed(work: Callable[[], object]) -> float:
    """Seconds that a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
