"""The loop: schedules and early stopping as Keras has them, augmentation, members, several workers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import Linear, Module

from engine.errors import UnexpectedNaN
from engine.prepare.scale import Affine
from engine.train.augment import augmented, shifted
from engine.train.feed import Held, Order
from engine.train.loop import Course, fit
from engine.train.losses import chi2
from engine.train.members import Learnt, kept, learn, lineage_of, networks_of
from engine.train.schedule import advance, is_better, is_over, kept_epoch, optimiser_of, schedule_of
from engine.train.spec import Training
from engine.train.state import Epoch
from engine.train.tensors import Tensors, of_arrays
from tests.small_training import PIXELS, learn_quietly, lesson, same_weights, stars


def history_of(losses: Sequence[float], settings: Training) -> list[Epoch]:
    """The epochs that a training with these validation losses would have, until it is over."""
    found: list[Epoch] = []
    for number, loss in enumerate(losses, start=1):
        if is_over(found, settings):
            break
        best = is_better(loss, found, settings)
        found.append(Epoch(number=number, train_loss=0.0, validation_loss=loss, best=best))
    return found


@pytest.mark.parametrize(
    ("patience", "min_delta", "losses", "epochs", "kept_at"),
    [
        # Keras: `wait` counts from 0 at each improvement and stops at patience.
        (2, 0.0, [5, 4, 4, 4, 3], 4, 2),
        (3, 0.0, [5, 4, 4, 4, 3], 5, 5),
        # 3.95 is better, but not by min_delta; Keras restores the weights of the epoch that was.
        (2, 0.1, [5, 4, 3.95, 3.92, 3], 4, 2),
        (1, 0.0, [5, 6, 4], 2, 1),
    ],
)
def test_early_stopping_is_that_of_keras(
    patience: int, min_delta: float, losses: list[float], epochs: int, kept_at: int
) -> None:
    stopping = {"patience": patience, "min_delta": min_delta}
    settings = Training.model_validate({"epochs": 5, "early_stopping": stopping})
    history = history_of(losses, settings)
    assert len(history) == epochs
    assert kept_epoch(history, settings).number == kept_at
    last = settings.model_copy(update={"keep": "last"})
    assert kept_epoch(history, last).number == epochs


def test_without_early_stopping_the_best_epoch_is_the_least_loss() -> None:
    settings = Training(epochs=5)
    history = history_of([5, 4, 4.5, 3.999, 7], settings)
    assert len(history) == 5
    assert kept_epoch(history, settings).number == 4


def keras_plateau(losses: Sequence[float], rate: float, plateau: Any) -> list[float]:
    """Keras' ReduceLROnPlateau, mode min, cooldown 0, written from its documentation."""
    best, wait, rates = float("inf"), 0, []
    for loss in losses:
        if loss < best - plateau.min_delta:
            best, wait = loss, 0
        else:
            wait += 1
            if wait >= plateau.patience:
                rate, wait = max(rate * plateau.factor, plateau.min_learning_rate), 0
        rates.append(rate)
    return rates


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_plateaus_are_those_of_keras(patience: int) -> None:
    settings = Training.model_validate(
        {
            "schedule": "reduce_on_plateau",
            "learning_rate": 5e-4,
            "plateau": {"patience": patience, "min_delta": 0.05, "min_learning_rate": 2e-5},
        }
    )
    losses = np.random.default_rng(patience).normal(1, 0.1, 40).cumsum() / np.arange(1, 41)
    optimiser = optimiser_of(Linear(2, 1), settings)
    schedule, rates = schedule_of(optimiser, settings), []
    for loss in losses:
        advance(schedule, float(loss))
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx(keras_plateau(losses.tolist(), 5e-4, settings.plateau))
    assert rates[-1] == 2e-5 or patience == 5


def test_constant_and_cosine() -> None:
    rates: dict[str, list[float]] = {}
    for name in ("constant", "cosine"):
        settings = Training.model_validate({"schedule": name, "epochs": 4})
        optimiser = optimiser_of(Linear(2, 1), settings)
        schedule = schedule_of(optimiser, settings)
        rates[name] = []
        for _ in range(4):
            optimiser.step()
            advance(schedule, 1.0)
            rates[name].append(optimiser.param_groups[0]["lr"])
    assert rates["constant"] == [1e-3] * 4
    assert rates["cosine"] == pytest.approx([1e-3 * 0.5 * (1 + np.cos(np.pi * k / 4)) for k in (1, 2, 3, 4)])


def test_adam_takes_the_eps_of_keras() -> None:
    settings = Training(optimiser="adam", eps=1e-7, learning_rate=0.1)
    layer = Linear(1, 1, bias=False)
    before = layer.weight.item()
    optimiser = optimiser_of(layer, settings)
    layer.weight.grad = torch.full_like(layer.weight, 1e-7)
    optimiser.step()
    # m / (sqrt(v) + eps), both without bias: 1e-7 / 2e-7.
    assert before - layer.weight.item() == pytest.approx(0.1 * 0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimiser": "adam", "weight_decay": 0.1}, 'weight_decay counts only with optimiser = "adamw"'),
        ({"plateau": {"patience": 3}}, "plateau counts only with schedule"),
        ({"keep_share": 0.8}, "keep_share counts only with members > 1"),
    ],
)
def test_a_key_that_does_not_count_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Training.model_validate(given)


def test_weights_do_not_depend_on_what_ran_before(tmp_path: Path) -> None:
    [one] = learn_quietly(lesson(tmp_path / "one", epochs=2))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    [other] = learn_quietly(lesson(tmp_path / "other", epochs=2))
    assert same_weights(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_are_constrained_after_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that allows no biases ends without any."""

    def no_biases(network: Module) -> None:
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.data.zero_()

    monkeypatch.setattr("engine.draw.network.Network.constrain", no_biases)
    [learnt] = learn_quietly(lesson(tmp_path, epochs=2))
    biases = [value for name, value in learnt.state.items() if name.endswith("bias")]
    assert biases and not any(bool(bias.any()) for bias in biases)


def test_a_nan_stops_at_its_batch_and_keeps_the_epochs_before(tmp_path: Path) -> None:
    """In epoch 3 a star turns bad: batches are told by their place in the epoch."""
    given = lesson(tmp_path, epochs=5, noise=0.0)
    seen: list[Epoch] = []

    def spoil(epoch: Epoch) -> None:
        seen.append(epoch)
        if epoch.number == 2:
            given.train.y_NL[17, 0] = torch.nan

    with pytest.raises(
        UnexpectedNaN, match=r"in batch \d of 4, in epoch 3; lower \[training\] learning_rate"
    ):
        learn(given, 0, on_epoch=spoil)
    assert [epoch.number for epoch in seen] == [1, 2]
    assert sorted(path.name for path in (tmp_path / "member-0").glob("epoch-*")) == [
        "epoch-000001",
        "epoch-000002",
    ]


def test_scatter_is_robust_and_in_the_unit_of_the_label() -> None:
    """A network that says 0 of labels with Gaussian spread: 1.4826 MAD is sigma, outliers or not."""
    given = stars(2000, 3)
    random = np.random.default_rng(0)
    y_NL = torch.from_numpy(random.normal(0, 0.3, (2000, 2)).astype(np.float32))
    y_NL[:20] = 1000.0
    known = torch.full((2000, 2), 20.0)
    known[1000:, 1] = 0.0
    given = replace(given, y_NL=y_NL, inverse_error_NL=known)
    network = lesson(Path("unused")).build(0)
    for weight in network.parameters():
        torch.nn.init.zeros_(weight)
    course = Course(
        train=Held(stars=given, order=Order(stars=2000, batch=2000, seed=1)),
        validation=given,
        settings=Training(epochs=1, learning_rate=1e-30, batch=2000),
        loss=chi2,
        penalty=lambda _: torch.zeros(()),
    )
    [epoch] = fit(network, course, on_epoch=lambda _: None)
    assert epoch.scatter_L == pytest.approx((0.3 * 800.0, 0.3 * 1.2), rel=0.08)


# Augmentation


def lines(velocity_km_s: float) -> tuple[Tensors, Affine]:
    """One absorption line on a logarithmic grid of 10 km/s, at rest or shifted."""
    ln_wave_P = np.arange(400) * 10.0 / 299_792.458
    centre = ln_wave_P[200] + velocity_km_s / 299_792.458
    flux_P = 1 - 0.5 * np.exp(-0.5 * ((ln_wave_P - centre) / (40 / 299_792.458)) ** 2)
    scaling = Affine(centre=np.full(400, 0.9, np.float32), scale=np.full(400, 0.2, np.float32))
    scaling.scale[:10] = np.inf
    span_P = np.full(400, 2 * 10.0 / 299_792.458)
    span_P[[0, -1]] = 0
    x_NI = np.append(scaling.apply(flux_P.astype(np.float32)), 3.0)[None]
    sigma_NI = np.append(np.full(400, 0.05), 0.0)[None]
    arrays: dict[str, np.ndarray] = {"x_NI": x_NI, "sigma_NI": sigma_NI, "span_P": span_P}
    arrays |= {"centre_P": scaling.centre, "scale_P": scaling.scale, "missing_P": np.full(400, 0.5)}
    arrays |= dict.fromkeys(("y_NL", "inverse_error_NL", "label_scale_L"), np.zeros((1, 1)))
    return of_arrays({name: array.astype(np.float32) for name, array in arrays.items()}), scaling


def test_a_wrong_velocity_moves_lines_to_where_it_would_put_them() -> None:
    at_rest, _ = lines(0.0)
    drawn = float(torch.randn((1, 1), generator=torch.Generator().manual_seed(4)))
    moved, _ = lines(1.0 * drawn)
    found = shifted(at_rest.x_NI, at_rest.sigma_NI, at_rest, 1.0, torch.Generator().manual_seed(4))
    change = (moved.x_NI - at_rest.x_NI).abs().max()
    assert (found - moved.x_NI).abs().max() < 0.1 * change
    # Pixels that the network does not use, and what is no pixel, stay.
    assert torch.equal(found[:, :10], at_rest.x_NI[:, :10])
    assert found[0, -1] == 3.0


def test_a_pixel_beside_a_missing_one_is_not_moved() -> None:
    given, _ = lines(0.0)
    given.sigma_NI[0, 195] = 0
    found = shifted(given.x_NI, given.sigma_NI, given, 5.0, torch.Generator().manual_seed(4))
    still = found[0] == given.x_NI[0]
    assert still[194:197].all()
    assert not still[197:200].any()


def test_lost_pixels_lie_where_missing_ones_do_and_extras_are_never_lost() -> None:
    given, _ = lines(0.0)
    rows = torch.zeros(500, dtype=torch.long)
    settings = Training(noise=0.0, mask_pixels=0.2)
    found = augmented(given.take(rows), settings, torch.Generator().manual_seed(1))
    lost = found != given.x_NI
    assert lost[:, :-1].float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert (found[lost] == 0.5).all()
    assert not lost[:, -1].any()


def test_noise_is_that_of_the_pixels() -> None:
    given, _ = lines(0.0)
    rows = torch.zeros(4000, dtype=torch.long)
    found = augmented(given.take(rows), Training(noise=1.0), torch.Generator().manual_seed(1)) - given.x_NI
    # sigma times a factor uniform in [0, 1], whose root mean square is 1/sqrt(3).
    assert found[:, 200].std().item() == pytest.approx(0.05 / np.sqrt(3), rel=0.05)
    assert not found[:, -1].any()


# Members


def test_members_differ_and_are_chosen_as_published(tmp_path: Path) -> None:
    given = lesson(tmp_path, members=5, keep_share=0.8, epochs=3, seed=4)
    learnt = learn_quietly(given)
    losses = [min(epoch.validation_loss for epoch in item.history) for item in learnt]
    assert len(set(losses)) == 5
    chosen = kept(learnt, given.settings)
    assert chosen == [i for i, loss in enumerate(losses) if loss < np.percentile(losses, 80)]
    assert len(chosen) == 4
    networks = networks_of(given, learnt)
    assert len(networks) == 4
    x_NI = given.validation.x_NI
    assert len({float(network(x_NI).value_NL.sum()) for network in networks}) == 4
    card = lineage_of(learnt, given.settings)
    assert [item["seed"] for item in card] == [4, 5, 6, 7, 8]
    assert [item["kept"] for item in card].count(True) == 4


def test_the_first_member_is_the_network_that_is_trained_alone(tmp_path: Path) -> None:
    [alone] = learn_quietly(lesson(tmp_path / "alone", epochs=2))
    first = learn_quietly(lesson(tmp_path / "both", epochs=2, members=2))[0]
    assert same_weights(alone, first)


def test_of_equal_members_one_is_kept() -> None:
    epoch = Epoch(number=1, train_loss=1.0, validation_loss=1.0, best=True)
    learnt = [Learnt(state={}, history=[epoch])] * 3
    assert kept(learnt, Training(members=3, keep_share=0.8)) == [0]
    assert kept(learnt, Training(members=3)) == [0, 1, 2]


# Several workers


class Threads:
    """Workers that are threads, which meet at a barrier and add up."""

    def __init__(self, rank: int, workers: int, barrier: Barrier, board: dict[int, list[Tensor]]) -> None:
        self.rank, self.workers, self._barrier, self._board = rank, workers, barrier, board

    def join(self, network: Module, loss: Tensor) -> Tensor:
        mine = [weight.grad for weight in network.parameters() if weight.grad is not None]
        *sums, total = self._summed([*mine, loss])
        for gradient, joined in zip(mine, sums, strict=True):
            gradient.copy_(joined)
        return total

    def agree(self, values: Tensor) -> Tensor:
        return self._summed([values if self.rank == 0 else torch.zeros_like(values)])[0]

    def _summed(self, mine: list[Tensor]) -> list[Tensor]:
        self._board[self.rank] = [part.clone() for part in mine]
        self._barrier.wait(60)
        sums = [torch.stack(parts).sum(0) for parts in zip(*self._board.values(), strict=True)]
        self._barrier.wait(60)
        return sums


@pytest.mark.parametrize("batch", [64, 51])
def test_two_workers_take_the_steps_of_one(batch: int) -> None:
    """The gradient of a batch is that of its parts, even where there is one star for two."""
    given = lesson(Path("unused"), 256, batch=batch, epochs=3, noise=0.0)
    given = replace(given, hyper=given.hyper.model_copy(update={"dropout": 1e-9}))
    # Built before: threads share torch's own random numbers.
    networks = {key: given.build(0) for key in ("alone", 0, 1)}
    ends: dict[Any, dict[str, Tensor]] = {}

    def work(key: Any, together: Any) -> None:
        network = networks[key]
        course = Course(
            train=Held(stars=given.train, order=given.order(0)),
            validation=given.validation,
            settings=given.settings,
            loss=chi2,
            penalty=lambda weights: 1e-3 * sum(w.square().sum() for w in weights.parameters()),
        )
        arguments = {} if together is None else {"together": together}
        fit(network, course, on_epoch=lambda _: None, **arguments)
        ends[key] = network.state_dict()

    work("alone", None)
    barrier, board = Barrier(2), dict[int, list[Tensor]]()
    workers = [Thread(target=work, args=(rank, Threads(rank, 2, barrier, board))) for rank in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for name, value in ends["alone"].items():
        assert torch.equal(ends[0][name], ends[1][name])
        torch.testing.assert_close(ends[0][name], value, rtol=2e-3, atol=2e-4)
    assert given.train.x_NI.shape[1] == PIXELS
