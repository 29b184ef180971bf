"""Drawing from every network, one thread: stars per second, against a plain loop and the machine itself."""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.draw import Bank, Network, Output, Outputs, bank_of
from engine.models import MODELS
from engine.models.architecture import Architecture
from engine.spec import Sampling
from tests.masked import masked_loop

# Rows as in a task; the networks, and the members that ensembles publish (the hybrid's number is recalled).
ROWS, FEW = 512, 32
MEMBERS = {"rave_cnn_2019": 10, "rave_cnn_2020": 10, "rvs_hybrid": 28, "lithium_cnn": 24}
NETWORKS = ("desi_mlp_4", "desi_mlp_5", "xp_photometry_mlp", "astronn", "astronn_dist", *MEMBERS)
DRAWS, LOOP_DRAWS, DIFFERENCE_DRAWS, LABELS = 100, 3, 5, 16
ROUNDS, PRODUCTS, SIDE = 3, 4, 2048
CPU = torch.device("cpu")
AIMS = {
    **{f"{name}_over_loop": ">= 12" for name in NETWORKS},
    **{f"{name}_difference": "<= 1e-5" for name in NETWORKS},
    "desi_mlp_4_matrix_rate": ">= 0.8",
}


def bench() -> dict[str, float]:
    """For each network, K = 100 dropout draws; for ensembles also their members without dropout.

    `loop` is the whole network in training mode, as often as there are draws, of which a few are measured.
    `matrix_rate` is the share of the machine's own rate (2048 x 2048 products right before and after) that
    the draws reach on the thinned work. `difference` is the largest one to multiplying by the same masks.
    """
    torch.set_num_threads(1)
    figures: dict[str, float] = {}
    for name in NETWORKS:
        found = measured(MODELS[name])
        figures |= {f"{name}_{figure}": value for figure, value in found.items()}
    return figures


def measured(model: Architecture) -> dict[str, float]:
    """The figures of one network with random weights."""
    torch.manual_seed(0)
    network = model.build(model.hyper, model.inputs, len(model.labels) or LABELS).eval().requires_grad_(False)
    x_NI = torch.randn(ROWS, model.inputs)
    bank = bank_of(network, Sampling(draws=DRAWS), CPU)
    rounds = [one_round(bank, network, x_NI) for _ in range(ROUNDS)]
    names = ("stars_per_s", "over_loop", "matrix_rate")
    figures = {name: median(values) for name, values in zip(names, zip(*rounds, strict=True), strict=True)}
    figures["difference"] = difference(network, x_NI[:FEW])
    if members := MEMBERS.get(model.name):
        alone = bank_of(network, Sampling(draws=0), CPU)
        figures[f"stars_per_s_of_{members}_members"] = ROWS / (
            members * median_time(lambda: drawn(alone, x_NI))
        )
    return figures


def one_round(bank: Bank, network: Network, x_NI: torch.Tensor) -> tuple[float, float, float]:
    """Stars per second, ratio to the loop, share of the machine's rate."""
    square = torch.randn(SIDE, SIDE)
    around = timed(lambda: [square @ square for _ in range(PRODUCTS)])
    bank_s = timed(lambda: drawn(bank, x_NI))
    around += timed(lambda: [square @ square for _ in range(PRODUCTS)])
    machine = 2 * PRODUCTS * 2 * SIDE**3 / around
    with FlopCounterMode(display=False) as counter:
        drawn(bank, x_NI[:FEW])
    operations = counter.get_total_flops() * ROWS / FEW
    network.train()
    loop_s = timed(lambda: [whole(network, x_NI) for _ in range(LOOP_DRAWS)]) * DRAWS / LOOP_DRAWS
    network.eval()
    return ROWS / bank_s, loop_s / bank_s, operations / bank_s / machine


def drawn(bank: Bank, x_NI: torch.Tensor) -> Outputs:
    """All draws."""
    with torch.inference_mode():
        return bank.draws(bank.once(x_NI))


def whole(network: Network, x_NI: torch.Tensor) -> Output:
    """The whole network once."""
    with torch.inference_mode():
        return network(x_NI)


def difference(network: Network, x_NI: torch.Tensor) -> float:
    """The largest difference between a few draws and the network multiplied by their masks."""
    sampling = Sampling(draws=DIFFERENCE_DRAWS)
    found = drawn(bank_of(network, sampling, CPU), x_NI).value_KNL
    expected = torch.stack([output.value_NL for output in masked_loop(network, x_NI, sampling)])
    return float((found - expected).abs().max())


def median_time(work: Callable[[], object]) -> float:
    """Seconds that a piece of work takes, the median of some tries."""
    return median(timed(work) for _ in range(ROUNDS))


def timed(work: Callable[[], object]) -> float:
    """Seconds that a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
