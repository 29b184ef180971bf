"""What `make bench-gpu` measures, on the processor in the place of a card."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from engine.draw import bank_of
from engine.draw.bank import compute
from engine.models import MODELS
from engine.spec import Sampling
from tests.bench import bench_gpu
from tests.bench.bench_networks import NETWORKS

CPU = torch.device("cpu")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DRAWS": 8, "ROWS": 48, "LARGE": 64, "BATCHES": 3, "FEW": 32, "SIDE": 256}.items():
        monkeypatch.setattr(bench_gpu, name, value)


@pytest.mark.usefixtures("small")
def test_a_network_is_measured_from_host_to_host() -> None:
    found = bench_gpu.measured(MODELS["desi_mlp_4"], CPU)
    assert {"stars_per_s", "graphed_per_s", "of_4096_per_s", "readers"} < {*found}
    assert min(found.values()) >= 0
    assert found["matrix_rate"] > 0
    assert max(found["difference_over_error"], found["errors_off_by"]) < 1e-3


@pytest.mark.usefixtures("small")
def test_only_what_is_worked_counts_as_operations() -> None:
    model = MODELS["desi_mlp_4"]
    few, many = (bench_gpu.operations(model, rows) for rows in (16, 32))
    assert many == 2 * few
    meta, sampling = torch.device("meta"), Sampling(draws=bench_gpu.DRAWS)
    filled_up = bank_of(bench_gpu.network_of(model), sampling, meta, grouped=True)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        compute([filled_up], torch.empty((16, model.inputs), device=meta))
    assert 0 < few < counter.get_total_flops()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["desi_mlp_5", "rave_cnn_2020", "astronn"])
def test_grouped_draws_are_fewer_launches(name: str) -> None:
    network, some = bench_gpu.network_of(MODELS[name]), bench_gpu.batch(MODELS[name], 16)
    apart, grouped = (bench_gpu.launches(network, some, grouped=grouped) for grouped in (False, True))
    assert grouped < apart / 2


def test_every_network_has_readers() -> None:
    assert {*NETWORKS} == {*bench_gpu.SURVEY}


def test_without_a_card_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no CUDA device"):
        bench_gpu.bench()
