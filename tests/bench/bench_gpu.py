"""Drawing on a card: stars per second of each network, how well that uses the card, and who could feed it.

Everything runs on any device of torch; only a card's figures are kept.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from engine.draw import Bank, Network, bank_of, draw
from engine.draw.card import LANES, Card
from engine.forecast import rates
from engine.models import MODELS
from engine.models.architecture import Architecture
from engine.runtime.device import exact_arithmetic
from engine.spec import Sampling
from engine.types import Inputs
from tests.bench.bench_networks import LABELS, NETWORKS
from tests.inputs import inputs_of

DRAWS, ROWS, LARGE, BATCHES, ROUNDS, FEW = 100, 512, 4096, 40, 3, 64
SIDE, PRODUCTS = 8192, 10
# Whose spectra a network labels; the readers that a card needs are readers of these.
SURVEY = {
    "desi_mlp_4": "desi",
    "desi_mlp_5": "desi",
    "xp_photometry_mlp": "gaia_xp_sampled",
    "astronn": "apogee",
    "astronn_dist": "apogee",
    "rave_cnn_2019": "rave",
    "rave_cnn_2020": "rave",
    "rvs_hybrid": "gaia_rvs",
    "lithium_cnn": "giraffe",
}
AIMS = {
    **{f"{name}_difference_over_error": "<= 1e-3" for name in NETWORKS},
    **{f"{name}_launches_over_grouped": "more is better" for name in NETWORKS},
}


def bench() -> dict[str, Any]:
    """Figures of this machine's card, with its model.

    `matrix_rate` is the share of the card's own float32 rate (8192 x 8192 products), with 512 stars a batch;
    `of_4096_per_s` is with 4,096, `graphed_per_s` with CUDA graphs. `readers` is how many cores must read
    that survey to feed one card. `difference_over_error`: the largest difference to a CPU of
    any star's mean, over its error.
    """
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device here: run `python -m tests.bench gpu` where there is one")
    exact_arithmetic()
    figures: dict[str, Any] = {"machine": torch.cuda.get_device_name(), "torch": torch.__version__}
    device = torch.device("cuda")
    figures["matrix_tflops"] = matrix_rate(device) / 1e12
    for name in NETWORKS:
        found = measured(MODELS[name], device, figures["matrix_tflops"] * 1e12)
        figures |= {f"{name}_{figure}": value for figure, value in found.items()}
    return figures


def measured(model: Architecture, device: torch.device, machine: float) -> dict[str, float]:
    """The figures of one network with random weights; `machine` is the device's rate of operations."""
    sampling, network = Sampling(draws=DRAWS), network_of(model)
    some = batch(model, ROWS)
    expected = draw([bank_of(network, sampling, torch.device("cpu"))], part(some, FEW))
    bank = bank_of(network, sampling, device)
    found = Card([bank], rows=ROWS, inputs=model.inputs)(some)
    rate = stars_per_second(bank, some)
    figures = {
        "stars_per_s": rate,
        "graphed_per_s": stars_per_second(bank, some, graphs=device.type == "cuda"),
        "of_4096_per_s": stars_per_second(bank, batch(model, LARGE)),
        "matrix_rate": operations(bank, some) / ROWS * rate / machine,
        "difference_over_error": difference(expected.value_KNL, found.value_KNL[:, :FEW]),
    }
    if read := rates().read.get(SURVEY[model.name]):
        figures["readers"] = rate / read
    return figures


def bench_launches() -> dict[str, float]:
    """How many operations a batch takes, draws one by one and grouped: what a card waits for."""
    figures: dict[str, float] = {}
    for name in NETWORKS:
        network, some = network_of(MODELS[name]), batch(MODELS[name], FEW)
        apart, grouped = (launches(network, some, grouped=grouped) for grouped in (False, True))
        figures |= {f"{name}_launches": grouped, f"{name}_launches_over_grouped": apart / grouped}
    return figures


def network_of(model: Architecture) -> Network:
    """With random weights."""
    torch.manual_seed(0)
    return model.build(model.hyper, model.inputs, len(model.labels) or LABELS).eval().requires_grad_(False)


def batch(model: Architecture, rows: int) -> Inputs:
    """Random spectra."""
    x_NI = np.random.default_rng(1).normal(size=(rows, model.inputs)).astype(np.float32)
    return inputs_of(x_NI, x_NI)


def part(inputs: Inputs, rows: int) -> Inputs:
    """The first of them."""
    return replace(inputs, x_NI=inputs.x_NI[:rows], usable_N=inputs.usable_N[:rows])


def stars_per_second(bank: Bank, inputs: Inputs, *, graphs: bool = False) -> float:
    """From arrays on the host to draws on the host, by as many threads as a card has lanes; the median."""
    rows, size = inputs.x_NI.shape
    card = Card([bank], rows=rows, inputs=size, graphs=graphs)
    with ThreadPoolExecutor(LANES) as threads:

        def all_batches() -> float:
            start = time.perf_counter()
            list(threads.map(card, [inputs] * BATCHES))
            return BATCHES * rows / (time.perf_counter() - start)

        all_batches()
        return median(all_batches() for _ in range(ROUNDS))


def operations(bank: Bank, inputs: Inputs) -> int:
    """Multiplications and additions of a batch."""
    x_NI = torch.as_tensor(inputs.x_NI, device=bank.device)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        bank.draws(bank.once(x_NI))
    return counter.get_total_flops()


def matrix_rate(device: torch.device, side: int = SIDE) -> float:
    """Operations per second of float32 products."""
    square: Tensor = torch.randn(side, side, device=device)
    synchronize = torch.get_device_module(device).synchronize
    _ = square @ square
    synchronize()
    start = time.perf_counter()
    for _ in range(PRODUCTS):
        _ = square @ square
    synchronize()
    return 2 * PRODUCTS * side**3 / (time.perf_counter() - start)


def difference(expected_KNL: np.ndarray, found_KNL: np.ndarray) -> float:
    """Largest difference of the means, over the scatter of draws."""
    return float((np.abs(found_KNL.mean(0) - expected_KNL.mean(0)) / expected_KNL.std(0)).max())


class Counted(TorchDispatchMode):
    """Counts what would be launched: operations that make a tensor, not those that only look at one."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def launches(network: Network, inputs: Inputs, *, grouped: bool) -> float:
    """Operations of a batch, all draws, on a device that only knows shapes."""
    device = torch.device("meta")
    bank = bank_of(network, Sampling(draws=DRAWS), device, grouped=grouped)
    x_NI = torch.as_tensor(inputs.x_NI, device=device)
    with torch.inference_mode(), Counted() as counted:
        bank.draws(bank.once(x_NI))
    return float(counted.count)
