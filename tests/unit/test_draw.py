"""The bank of thinned networks is MC-dropout, exactly."""

import numpy as np
import pytest
import torch
from torch import nn

from engine.draw import draw, keep_mask, thin
from engine.errors import UnexpectedNaN
from engine.models.desi_mlp import MlpHyper, build_mlp
from engine.spec import Sampling
from engine.types import Inputs
from tests.inputs import inputs_of

CPU = torch.device("cpu")


def network(seed: int = 0, **hyper: object) -> nn.Sequential:
    torch.manual_seed(seed)
    settings = {"hidden": (64, 32, 16), "dropout": 0.2} | hyper
    return build_mlp(MlpHyper.model_validate(settings), 50, 5).eval().requires_grad_(False)


def inputs(rows: int, seed: int = 0, pixels: int = 50) -> Inputs:
    x = np.random.default_rng(seed).normal(size=(rows, pixels)).astype(np.float32)
    return inputs_of(x, x)


def masked_loop(net: nn.Sequential, x: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Dropout as the textbook has it: multiply by the mask, divide by 1 - p, one draw after the other."""
    outputs = []
    for k in range(sampling.draws):
        value, layer = x, 0
        for module in net:
            if isinstance(module, nn.Dropout):
                keep = keep_mask(sampling.seed, k, layer, value.shape[1], module.p)
                value, layer = value * torch.from_numpy(keep) / (1 - module.p), layer + 1
            else:
                value = module(value)
        outputs.append(value)
    return torch.stack(outputs)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("hidden", [(64,), (64, 32, 16, 8), (32, 32, 32, 32, 32)])
def test_thinned_networks_equal_the_masked_loop(activation: str, hidden: tuple[int, ...]) -> None:
    net, sampling = network(activation=activation, hidden=hidden), Sampling(draws=20, seed=3)
    batch = inputs(33)
    found = draw((thin(net, sampling, CPU),), batch).value_KNL
    expected = masked_loop(net, torch.from_numpy(batch.x_NP), sampling).numpy()
    assert found.shape == (20, 33, 5)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.std(axis=0).min() > 1e-3


def test_masks_are_a_pure_function_of_seed_draw_and_layer() -> None:
    first = keep_mask(1, 2, 3, 1000, 0.2)
    assert (first == keep_mask(1, 2, 3, 1000, 0.2)).all()
    others = [keep_mask(2, 2, 3, 1000, 0.2), keep_mask(1, 3, 3, 1000, 0.2), keep_mask(1, 2, 4, 1000, 0.2)]
    assert all((first != other).any() for other in others)
    kept = np.mean([keep_mask(1, k, 0, 1000, 0.2).mean() for k in range(100)])
    assert kept == pytest.approx(0.8, abs=0.005)


def test_draw_k_does_not_depend_on_how_many_draws_there_are() -> None:
    few, many = (draw((thin(network(), Sampling(draws=n), CPU),), inputs(9)).value_KNL for n in (4, 11))
    np.testing.assert_array_equal(few, many[:4])


def test_a_label_does_not_depend_on_its_neighbours() -> None:
    bank, batch = thin(network(), Sampling(draws=8), CPU), inputs(40)
    order = np.random.default_rng(1).permutation(40)
    other = inputs(40, seed=9)
    mixed = Inputs(
        x_NP=np.vstack([batch.x_NP[order[:20]], other.x_NP[:20]]),
        usable_N=batch.usable_N,
        spectra=batch.spectra,
    )
    whole = draw((bank,), batch).value_KNL
    np.testing.assert_array_equal(draw((bank,), mixed).value_KNL[:, :20], whole[:, order[:20]])


def test_the_bank_agrees_with_fresh_masks_for_every_star() -> None:
    """Mean and spread over the fixed bank are those of torch's own dropout, within Monte-Carlo error."""
    net, batch = network(), inputs(30)
    bank = draw((thin(net, Sampling(draws=2000), CPU),), batch).value_KNL
    torch.manual_seed(1)
    x = torch.from_numpy(batch.x_NP)
    with torch.inference_mode():
        fresh = torch.stack([net.train()(x) for _ in range(2000)]).numpy()
    sigma = fresh.std(axis=0)
    assert np.abs((bank.mean(axis=0) - fresh.mean(axis=0)) / sigma).max() < 5 * np.sqrt(2 / 2000)
    assert np.abs(bank.std(axis=0) / sigma - 1).max() < 0.12


def test_members_of_an_ensemble_follow_one_another() -> None:
    banks = [thin(network(seed), Sampling(draws=3), CPU) for seed in (0, 1)]
    both = draw(banks, inputs(4)).value_KNL
    np.testing.assert_array_equal(both[3:], draw(banks[1:], inputs(4)).value_KNL)
    assert both.shape == (6, 4, 5)


def test_networks_that_cannot_be_thinned_are_refused() -> None:
    with pytest.raises(ValueError, match="no dropout"):
        thin(nn.Sequential(nn.Linear(3, 2)), Sampling(), CPU)
    with pytest.raises(ValueError, match="cannot thin"):
        thin(nn.Sequential(nn.Dropout(0.1), nn.Linear(3, 2), nn.BatchNorm1d(2)), Sampling(), CPU)


def test_a_broken_network_is_an_error_and_an_unusable_star_is_not() -> None:
    net = network()
    batch = inputs(5)
    batch.x_NP[3] = np.nan
    with pytest.raises(UnexpectedNaN, match="1 of 5"):
        draw((thin(net, Sampling(draws=2), CPU),), batch)
    batch.usable_N[3] = False
    assert np.isfinite(draw((thin(net, Sampling(draws=2), CPU),), batch).value_KNL[:, :3]).all()
