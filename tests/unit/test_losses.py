"""What networks are trained with, against the formulas by hand."""

import math

import numpy as np
import pytest
import torch

from engine.draw import Output
from engine.models import MODELS
from engine.models.lithium_cnn import LithiumHyper
from engine.prepare.scale import Affine
from engine.train.dataset import LabelledSpectra
from engine.train.feed import Held, Order
from engine.train.loop import Course, fit
from engine.train.losses import LOSSES, chi2, mse, robust
from engine.train.scalers import Scalers
from engine.train.spec import Training
from engine.train.tensors import to_tensors

F = torch.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 7.0]])
Y = torch.tensor([[1.5, 2.0, 99.0], [0.0, 1.0, 99.0]])
# Errors of 0.5, 1 and 0.25; the third label is missing in both stars, the first in the second one.
INVERSE = torch.tensor([[2.0, 1.0, 0.0], [0.0, 4.0, 0.0]])
S = torch.tensor([[0.0, -1.0, 50.0], [80.0, 0.5, -80.0]])


def test_chi2_is_the_mean_over_known_labels() -> None:
    assert chi2(Output(F), Y, INVERSE).item() == pytest.approx((1.0 + 0.0 + 64.0) / 3)


def test_mse_lets_known_labels_count_alike() -> None:
    assert mse(Output(F), Y, INVERSE).item() == pytest.approx((0.25 + 0.0 + 4.0) / 3)


def test_robust_is_astronns_mean_over_the_labels_that_a_star_has() -> None:
    variances = [1 + 0.25, math.exp(-1) + 1, math.exp(0.5) + 1 / 16]
    terms = [
        0.5 * (residual**2 / v + math.log(v)) for residual, v in zip((0.5, 0, 2), variances, strict=True)
    ]
    expected = ((terms[0] + terms[1]) / 2 + terms[2]) / 2
    assert robust(Output(F, S), Y, INVERSE).item() == pytest.approx(expected)


def test_robust_without_errors_of_labels_is_the_predicted_variance_alone() -> None:
    exact = torch.full((2, 3), math.inf)
    v = S.clamp(-5, 5).exp()
    expected = (0.5 * ((Y - F) ** 2 / v + v.log())).mean()
    assert robust(Output(F, S.clamp(-5, 5)), Y, exact).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_missing_labels_move_nothing_and_gradients_are_finite(name: str) -> None:
    value, log_variance = F.clone().requires_grad_(), S.clone().requires_grad_()
    loss = LOSSES[name]
    found = loss(Output(value, log_variance), Y, INVERSE)
    found.backward()
    assert value.grad is not None
    assert value.grad.isfinite().all()
    assert (value.grad[INVERSE == 0] == 0).all()
    assert (value.grad != 0).sum() == 2, "one of the three known labels is exactly right"
    if name == "robust":
        assert log_variance.grad is not None
        assert log_variance.grad.isfinite().all()
        assert (log_variance.grad[INVERSE == 0] == 0).all()
    other = torch.where(INVERSE > 0, Y, -99.0)
    assert loss(Output(value, log_variance), other, INVERSE).item() == found.item()


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_any_label_costs_nothing(name: str) -> None:
    value = F.clone().requires_grad_()
    found = LOSSES[name](Output(value, S), Y, torch.zeros_like(Y))
    found.backward()
    assert found.item() == 0
    assert value.grad is not None
    assert (value.grad == 0).all()


def stars(rows: int = 40) -> LabelledSpectra:
    generator = np.random.default_rng(0)
    flux_NP = generator.normal(1, 0.1, size=(rows, 6861)).astype(np.float32)
    label_NL = (5000 + 500 * generator.normal(size=(rows, 4))).astype(np.float32)
    return LabelledSpectra(
        flux_NP=flux_NP,
        ivar_NP=np.ones_like(flux_NP),
        snr_N=np.ones(rows, np.float32),
        extra_NE=np.empty((rows, 0), np.float32),
        label_NL=label_NL,
        error_NL=np.full_like(label_NL, 30),
        known_NL=label_NL > 4500,
        part_N=np.zeros(rows, int),
    )


def scalers() -> Scalers:
    inputs = Affine(centre=np.zeros(6861, np.float32), scale=np.ones(6861, np.float32))
    labels = Affine(centre=np.full(4, 5000, np.float32), scale=np.full(4, 250, np.float32))
    return Scalers(wanted=MODELS["lithium_cnn"].input, extras=(), inputs=inputs, labels=labels)


def test_errors_of_labels_are_scaled_with_them_and_floored() -> None:
    """Chi-square is the same number in kelvin as in the network's units."""
    given = stars()
    found = to_tensors(given, scalers(), floor_L=np.full(4, 40, np.float32))
    known = given.known_NL
    np.testing.assert_allclose(found.inverse_error_NL.numpy(), np.where(known, 250 / 50, 0), rtol=1e-6)
    guess = torch.zeros(found.y_NL.shape)
    expected = np.mean(((given.label_NL - 5000) / 50)[known] ** 2)
    assert chi2(Output(guess), found.y_NL, found.inverse_error_NL).item() == pytest.approx(expected, rel=1e-5)


def test_the_lithium_network_pays_for_its_kernels_while_it_learns() -> None:
    model = MODELS["lithium_cnn"]
    torch.manual_seed(0)
    network = model.build(model.hyper, model.inputs, 4)
    kernels = [weight for name, weight in network.named_parameters() if weight.ndim == 3]
    assert len(kernels) == 3
    by_hand = sum(float((kernel.detach().numpy() ** 2).sum()) for kernel in kernels)
    penalty = model.penalty(network, LithiumHyper(l2=0.005))
    assert penalty.item() == pytest.approx(0.005 * by_hand, rel=1e-5)
    penalty.backward()
    assert {name for name, weight in network.named_parameters() if weight.grad is not None} == {
        name for name, weight in network.named_parameters() if weight.ndim == 3
    }
    tensors = to_tensors(stars(), scalers(), floor_L=np.zeros(4, np.float32))
    after = {}
    for l2 in (0.0, 0.5):
        torch.manual_seed(0)
        network, hyper = model.build(model.hyper, model.inputs, 4), LithiumHyper(l2=l2)
        history = fit(
            network,
            Course(
                train=Held(stars=tensors, order=Order(stars=len(tensors), batch=20, seed=1)),
                validation=tensors,
                settings=Training(epochs=5, batch=20),
                loss=mse,
                penalty=lambda weights, hyper=hyper: model.penalty(weights, hyper),
            ),
            on_epoch=lambda _: None,
        )
        after[l2] = (
            sum(float((weight.detach() ** 2).sum()) for weight in network.parameters() if weight.ndim == 3),
            history[0],
        )
    assert after[0.5][0] < after[0.0][0]
    assert after[0.5][1].train_loss > after[0.5][1].validation_loss + 0.3 * 0.5 * by_hand


@pytest.mark.parametrize("name", [name for name in MODELS if name != "lithium_cnn"])
def test_no_other_network_pays_for_weights(name: str) -> None:
    model = MODELS[name]
    with torch.device("meta"):
        network = model.build(model.hyper, model.inputs, len(model.labels) or 3)
    assert model.penalty(network, model.hyper).item() == 0
