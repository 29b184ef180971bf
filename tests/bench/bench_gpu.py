"""Drawing on a card: stars per second of each network, how well that uses the card, and who could feed it.

Everything runs on any device of torch; only a card's figures are kept.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import mean, median
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from engine.draw import Bank, Network, bank_of, draw
from engine.draw.bank import compute
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
    **{f"{name}_errors_off_by": "<= 1e-3" for name in NETWORKS},
    **{f"{name}_graphed_difference_over_error": "0" for name in NETWORKS},
    **{f"{name}_launches_over_grouped": "more is better" for name in NETWORKS},
}


def bench() -> dict[str, Any]:
    """Figures of this machine's card, with its model.

    `matrix_rate` is the share of the card's own float32 rate (8192 x 8192 products, before and after), with
    512 stars a batch; what fills thinned networks up to one shape is no work. `of_4096_per_s` is with 4,096,
    `graphed_per_s` with CUDA graphs. `readers` is how many cores must read that survey to feed one card.
    `difference_over_error`: the largest difference to a CPU of any star's mean, over its error, and
    `errors_off_by` that of the errors themselves; `graphed_difference_over_error` is that of graphs to none.
    """
    if not torch.cuda.is_available():
        raise SystemExit("torch sees no CUDA device here: run `python -m tests.bench gpu` where there is one")
    exact_arithmetic()
    # As in a worker.
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"machine": torch.cuda.get_device_name(), "torch": torch.__version__}
    device = torch.device("cuda")
    for name in NETWORKS:
        found = measured(MODELS[name], device)
        figures |= {f"{name}_{figure}": value for figure, value in found.items()}
    return figures


def measured(model: Architecture, device: torch.device) -> dict[str, float]:
    """The figures of one network with random weights."""
    graphs, some = device.type == "cuda", batch(model, ROWS)
    bank = bank_of(network_of(model), Sampling(draws=DRAWS), device)
    before = matrix_rate(device)
    rate = stars_per_second(bank, some)
    machine = mean([before, matrix_rate(device)])
    figures = {
        "matrix_tflops": machine / 1e12,
        "stars_per_s": rate,
        "graphed_per_s": stars_per_second(bank, some, graphs=graphs),
        "of_4096_per_s": stars_per_second(bank, batch(model, LARGE)),
        "matrix_rate": operations(model, ROWS) / ROWS * rate / machine,
        **differences(model, bank, some, graphs=graphs),
    }
    if read := rates().read.get(SURVEY[model.name]):
        figures["readers"] = rate / read
    return figures


def bench_launches() -> dict[str, float]:
    """How many operations a batch takes, draws one by one and grouped: what a card waits for."""
    figures: dict[str, float] = {}
    for name in NETWORKS:
        network, some = network_of(MODELS[name]), batch(MODELS[name], ROWS)
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


def operations(model: Architecture, rows: int) -> int:
    """Multiplications and additions of a batch: those of the thinned networks, one by one."""
    device = torch.device("meta")
    bank = bank_of(network_of(model), Sampling(draws=DRAWS), device, grouped=False)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        compute([bank], torch.empty((rows, model.inputs), device=device))
    return counter.get_total_flops()


def matrix_rate(device: torch.device) -> float:
    """Operations per second of float32 products."""
    square: Tensor = torch.randn(SIDE, SIDE, device=device)
    synchronize = torch.get_device_module(device).synchronize
    _ = square @ square
    synchronize()
    start = time.perf_counter()
    for _ in range(PRODUCTS):
        _ = square @ square
    synchronize()
    return 2 * PRODUCTS * SIDE**3 / (time.perf_counter() - start)


def differences(model: Architecture, bank: Bank, some: Inputs, *, graphs: bool) -> dict[str, float]:
    """What a card draws, launched and by graphs, against a processor's draws of a few of its stars."""
    cpu = torch.device("cpu")
    expected = draw([bank_of(network_of(model), Sampling(draws=DRAWS), cpu)], part(some, FEW)).value_KNL
    launched, graphed = (
        Card([bank], rows=ROWS, inputs=model.inputs, graphs=graphs)(some).value_KNL[:, :FEW]
        for graphs in (False, graphs)
    )
    scatter_NL = expected.std(axis=0)
    return {
        "difference_over_error": _largest(launched.mean(axis=0) - expected.mean(axis=0), scatter_NL),
        "errors_off_by": _largest(launched.std(axis=0) - scatter_NL, scatter_NL),
        "graphed_difference_over_error": _largest(graphed - launched, scatter_NL),
    }


def _largest(difference: np.ndarray, scatter_NL: np.ndarray) -> float:
    return float((np.abs(difference) / scatter_NL).max())


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
        compute([bank], x_NI)
    return float(counted.count)
