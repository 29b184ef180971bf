"""The affine scalings: what each one does to known values, and what none of them lets through."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.prepare.scale import Affine, fit_mean, fit_mean_std, fit_median_iqr, fit_min_max, fit_std

Fit = Callable[..., Affine]
X = np.array([[1, 10], [2, 20], [3, 30], [6, -40]], np.float32)
KNOWN = np.array([[1, 1], [1, 1], [1, 1], [1, 0]], bool)


def mean_alone(x: np.ndarray, known: np.ndarray, *, least: float, rare: float = 0.0) -> Affine:
    """`fit_mean` has no scale that could become too small."""
    return fit_mean(x, known, rare=rare)


FITS = (fit_median_iqr, fit_mean_std, mean_alone, fit_std, fit_min_max)


@pytest.mark.parametrize(
    ("fit", "centre", "scale"),
    [
        (fit_mean_std, [3, 20], [np.sqrt(3.5), np.sqrt(200 / 3)]),
        (mean_alone, [3, 20], [1, 1]),
        (fit_std, [0, 0], [np.sqrt(3.5), np.sqrt(200 / 3)]),
        (fit_min_max, [1, 10], [5, 20]),
        (fit_median_iqr, [2.5, 20], [2, 10]),
    ],
)
def test_a_fit_is_that_of_the_known_values(fit: Fit, centre: list[float], scale: list[float]) -> None:
    found = fit(X, KNOWN, least=1e-6)
    np.testing.assert_allclose(found.centre, centre, rtol=1e-6)
    np.testing.assert_allclose(found.scale, scale, rtol=1e-6)
    assert found.centre.dtype == found.scale.dtype == np.float32


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("garbage", [np.nan, np.inf, -9999.0])
def test_an_unknown_value_cannot_change_a_fit(fit: Fit, garbage: float) -> None:
    hurt = np.where(KNOWN, X, np.float32(garbage))
    found, wanted = fit(hurt, KNOWN, least=1e-6), fit(X, KNOWN, least=1e-6)
    assert found.centre.tolist() == wanted.centre.tolist()
    assert found.scale.tolist() == wanted.scale.tolist()


@pytest.mark.parametrize("fit", FITS)
def test_a_constant_column_stays_finite(fit: Fit) -> None:
    x = np.full((5, 1), 4000.1, np.float32)
    found = fit(x, np.ones_like(x, bool), least=0.5)
    assert found.scale[0] >= 0.5
    np.testing.assert_allclose(found.invert(found.apply(x)), x, rtol=1e-6)


@pytest.mark.parametrize("fit", FITS)
def test_rare_and_unknown_columns_become_exactly_zero(fit: Fit) -> None:
    x = np.arange(300, dtype=np.float32).reshape(100, 3)
    known = np.ones_like(x, bool)
    known[3:, 1] = known[:, 2] = False
    found = fit(x, known, least=1e-3, rare=0.05)
    assert (found.apply(x)[:, 1:] == 0).all()
    assert np.isfinite(found.scale[0])


@pytest.mark.parametrize("fit", FITS)
@given(arrays(np.float32, (7, 3), elements=st.floats(-1e4, 1e4, width=32)))
def test_torch_scales_as_numpy_does(fit: Fit, x: np.ndarray) -> None:
    found = fit(x, np.ones_like(x, bool), least=1.0)
    tensor = torch.tensor(x)
    np.testing.assert_array_equal(found.apply(tensor).numpy(), found.apply(x))
    np.testing.assert_array_equal(found.invert(tensor).numpy(), found.invert(x))
    np.testing.assert_allclose(found.invert(found.apply(x)), x, rtol=1e-5, atol=2e-2)


def test_a_mean_of_many_temperatures_keeps_its_digits() -> None:
    x = np.full((200_000, 1), 4656.27, np.float32)
    found = fit_mean_std(x, np.ones_like(x, bool), least=1e-6)
    assert found.centre[0] == x[0, 0]
