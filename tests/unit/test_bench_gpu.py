"""What `make bench-gpu` measures, on the processor in the place of a card."""

import pytest
import torch

from engine.models import MODELS
from tests.bench import bench_gpu
from tests.bench.bench_networks import NETWORKS

CPU = torch.device("cpu")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DRAWS": 6, "ROWS": 48, "LARGE": 64, "BATCHES": 3, "FEW": 32}.items():
        monkeypatch.setattr(bench_gpu, name, value)


@pytest.mark.usefixtures("small")
def test_a_network_is_measured_from_host_to_host() -> None:
    found = bench_gpu.measured(MODELS["desi_mlp_4"], CPU, bench_gpu.matrix_rate(CPU, side=256))
    assert {"stars_per_s", "graphed_per_s", "of_4096_per_s", "readers"} < {*found}
    assert min(found.values()) >= 0
    assert found["matrix_rate"] > 0
    assert found["difference_over_error"] < 1e-3


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
