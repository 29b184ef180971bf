"""The bank of thinned networks is MC-dropout, exactly."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.draw import (
    Branched,
    Chain,
    Columns,
    Masks,
    Network,
    Output,
    Thinned,
    bank_of,
    draw,
    keep_mask,
)
from engine.errors import UnexpectedNaN
from engine.models.desi_mlp import MlpHyper, build_mlp
from engine.spec import Sampling
from engine.types import Inputs
from tests.inputs import inputs_of

CPU = torch.device("cpu")


def network(seed: int = 0, **hyper: object) -> Chain:
    torch.manual_seed(seed)
    settings = {"hidden": (64, 32, 16), "dropout": 0.2} | hyper
    return build_mlp(MlpHyper.model_validate(settings), 50, 5).eval().requires_grad_(False)


def inputs(rows: int, seed: int = 0, pixels: int = 50) -> Inputs:
    x = np.random.default_rng(seed).normal(size=(rows, pixels)).astype(np.float32)
    return inputs_of(x, x)


def masked_loop(net: Chain, x: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Dropout as the textbook has it: multiply by the mask, divide by 1 - p, one draw after the other."""
    outputs = []
    for k in range(sampling.draws):
        value, layer = x, 0
        for module in net.layers:
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
    found = draw((bank_of(net, sampling, CPU),), batch).value_KNL
    expected = masked_loop(net, torch.from_numpy(batch.x_NI), sampling).numpy()
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
    few, many = (draw((bank_of(network(), Sampling(draws=n), CPU),), inputs(9)).value_KNL for n in (4, 11))
    np.testing.assert_array_equal(few, many[:4])


@pytest.mark.parametrize("draws", [0, 8])
@pytest.mark.parametrize("rows", [1, 7, 16, 40, 141])
def test_a_label_does_not_depend_on_its_neighbours(rows: int, draws: int) -> None:
    """Nor on its place among them or their number, to the last bit."""
    bank, batch = bank_of(network(), Sampling(draws=draws), CPU), inputs(150)
    chosen = np.random.default_rng(rows).permutation(150)[:rows]
    some = inputs_of(batch.x_NI[chosen], batch.x_NI[chosen])
    whole, found = draw((bank,), batch), draw((bank,), some)
    np.testing.assert_array_equal(found.value_KNL, whole.value_KNL[:, chosen])
    np.testing.assert_array_equal(found.hidden_NH, whole.hidden_NH[chosen])


def test_no_star_gives_no_label() -> None:
    found = draw((bank_of(network(), Sampling(draws=2), CPU),), inputs(0))
    assert found.value_KNL.shape == (2, 0, 5)
    assert found.hidden_NH.shape == (0, 16)


def test_the_bank_agrees_with_fresh_masks_for_every_star() -> None:
    """Mean and spread over the fixed bank are those of torch's own dropout, within Monte-Carlo error."""
    net, batch = network(), inputs(30)
    bank = draw((bank_of(net, Sampling(draws=2000), CPU),), batch).value_KNL
    torch.manual_seed(1)
    x = torch.from_numpy(batch.x_NI)
    with torch.inference_mode():
        fresh = torch.stack([net.train()(x).value_NL for _ in range(2000)]).numpy()
    sigma = fresh.std(axis=0)
    assert np.abs((bank.mean(axis=0) - fresh.mean(axis=0)) / sigma).max() < 5 * np.sqrt(2 / 2000)
    assert np.abs(bank.std(axis=0) / sigma - 1).max() < 0.12


def test_members_of_an_ensemble_follow_one_another() -> None:
    banks = [bank_of(network(seed), Sampling(draws=3), CPU) for seed in (0, 1)]
    both = draw(banks, inputs(4)).value_KNL
    np.testing.assert_array_equal(both[3:], draw(banks[1:], inputs(4)).value_KNL)
    assert both.shape == (6, 4, 5)


def test_every_member_of_an_ensemble_draws_with_the_same_masks() -> None:
    nets, sampling, batch = [network(seed) for seed in (0, 1, 2)], Sampling(draws=4, seed=9), inputs(6)
    found = draw([bank_of(net, sampling, CPU) for net in nets], batch).value_KNL
    expected = torch.cat([masked_loop(net, torch.from_numpy(batch.x_NI), sampling) for net in nets])
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_members_alone_have_no_dropout() -> None:
    nets, batch = [network(seed).train() for seed in (0, 1)], inputs(6)
    found = draw([bank_of(net, Sampling(draws=0), CPU) for net in nets], batch)
    x = torch.from_numpy(batch.x_NI)
    expected = torch.stack([net.eval()(x).value_NL for net in nets])
    np.testing.assert_allclose(found.value_KNL, expected.numpy(), atol=1e-6)
    assert found.log_variance_KNL is None


class TwoHeads(Network):
    """Values from one chain, log-variances from another."""

    def __init__(self, value: Chain, log_variance: Chain) -> None:
        super().__init__()
        self.value, self.log_variance = value, log_variance

    def forward(self, x_NI: Tensor) -> Output:
        return Output(self.value(x_NI).value_NL, self.log_variance(x_NI).value_NL)

    def once(self, x_NI: Tensor) -> Columns:
        return (*self.value.once(x_NI), *self.log_variance.once(x_NI))

    def thinned(self, masks: Masks) -> Thinned:
        value, log_variance = self.value.thinned(masks), self.log_variance.thinned(masks)
        return lambda columns: Output(value(columns[:1]).value_NL, log_variance(columns[1:]).value_NL)

    def hidden(self, x_NI: Tensor) -> Tensor:
        return self.value.hidden(x_NI)


def test_log_variances_are_drawn_with_the_values() -> None:
    nets = [TwoHeads(network(i), network(i + 5)) for i in (0, 1)]
    sampling, batch = Sampling(draws=3), inputs(4)
    found = draw([bank_of(net, sampling, CPU) for net in nets], batch)
    alone = draw([bank_of(nets[0].value, sampling, CPU)], batch)
    assert found.log_variance_KNL is not None
    assert found.log_variance_KNL.shape == found.value_KNL.shape == (6, 4, 5)
    np.testing.assert_array_equal(found.value_KNL[:3], alone.value_KNL)
    np.testing.assert_array_equal(found.hidden_NH, alone.hidden_NH)
    members = draw([bank_of(net, Sampling(draws=0), CPU) for net in nets], batch)
    assert members.log_variance_KNL is not None
    expected = torch.stack([net(torch.from_numpy(batch.x_NI)).log_variance_NL for net in nets])
    np.testing.assert_allclose(members.log_variance_KNL, expected.numpy(), atol=1e-6)


def test_a_variance_that_is_no_number_is_an_error() -> None:
    broken = network(5)
    nn.init.constant_(broken.layers[-1].bias, np.inf)
    bank = bank_of(TwoHeads(network(0), broken), Sampling(draws=2), CPU)
    with pytest.raises(UnexpectedNaN, match=r"4 of 4 .* weights are broken"):
        draw((bank,), inputs(4))


def test_branches_are_thinned_like_chains() -> None:
    torch.manual_seed(1)
    one = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, 12), nn.ReLU())
    two = nn.Sequential(nn.Linear(20, 8), nn.ReLU())
    tail = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Dropout(0.2), nn.Linear(10, 3))
    net = Branched((one, two), (30, 20), tail).eval().requires_grad_(False)
    batch, sampling = inputs(9), Sampling(draws=5, seed=2)
    found = draw((bank_of(net, sampling, CPU),), batch).value_KNL
    x = torch.from_numpy(batch.x_NI)
    for k in range(5):
        # The branches' masks come first, then the tail's.
        first, second = (
            torch.from_numpy(keep_mask(2, k, layer, units, p)) / (1 - p)
            for layer, units, p in ((0, 24, 0.3), (1, 10, 0.2))
        )
        joined = torch.cat([one[3:](one[:2](x[:, :30]) * first), two(x[:, 30:])], dim=1)
        np.testing.assert_allclose(found[k], tail[3](tail[:2](joined) * second).numpy(), atol=1e-5)


def test_branches_without_dropout_are_refused() -> None:
    one, two, tail = (nn.Sequential(nn.Linear(*shape)) for shape in ((3, 2), (2, 2), (4, 1)))
    with pytest.raises(ValueError, match="no dropout"):
        bank_of(Branched((one, two), (3, 2), tail), Sampling(), CPU)


def test_networks_that_cannot_be_thinned_are_refused() -> None:
    with pytest.raises(ValueError, match="no dropout"):
        bank_of(Chain(nn.Linear(3, 2)), Sampling(), CPU)
    with pytest.raises(ValueError, match="cannot thin"):
        bank_of(Chain(nn.Dropout(0.1), nn.Linear(3, 2), nn.BatchNorm1d(2)), Sampling(), CPU)


def test_a_broken_network_is_an_error_and_an_unusable_star_is_not() -> None:
    net = network()
    batch = inputs(5)
    batch.x_NI[3] = np.nan
    with pytest.raises(UnexpectedNaN, match="1 of 5"):
        draw((bank_of(net, Sampling(draws=2), CPU),), batch)
    batch.usable_N[3] = False
    assert np.isfinite(draw((bank_of(net, Sampling(draws=2), CPU),), batch).value_KNL[:, :3]).all()
