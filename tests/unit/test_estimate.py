"""Draws to labels: laws of variance, derived labels, calibration."""

import numpy as np
import pytest

from engine.estimate import estimate
from engine.prepare.scale import Affine
from engine.train.calibrate import ONE_SIGMA, coverage, fit_calibration
from engine.types import Derived, Draws, Label

SCALE = Affine(
    centre=np.array([5000.0, -0.5, -0.3], np.float32), scale=np.array([800.0, 0.4, 0.5], np.float32)
)
MG_FE = (Derived(name="mg_fe", minuend="mg_h", subtrahend="fe_h"),)


def labels(*, scale: float | None = None, floor: float | None = None) -> list[Label]:
    names = ("teff", "fe_h", "mg_h", "mg_fe")
    return [
        Label(name=n, unit="", ucd="", description="", low=0, high=1, error_scale=scale, error_floor=floor)
        for n in names
    ]


def some_draws(noise: bool = False) -> Draws:
    generator = np.random.default_rng(0)
    value = generator.normal(size=(60, 11, 3)).astype(np.float32)
    return Draws(
        value_KNL=value,
        log_variance_KNL=generator.normal(size=(60, 11, 3)).astype(np.float32) if noise else None,
    )


def run(draws: Draws, **calibration: float):
    usable = np.ones(draws.value_KNL.shape[1], bool)
    return estimate(draws, usable, scale=SCALE, labels=labels(**calibration), derived=MG_FE)


def test_centre_and_spread_are_in_physical_units_with_ddof_zero() -> None:
    draws = some_draws()
    found = run(draws)
    physical = draws.value_KNL.astype(float) * SCALE.scale + SCALE.centre
    np.testing.assert_allclose(found.centre_NL[:, :3], physical.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.model_NL[:, :3], physical.std(axis=0, ddof=0), rtol=1e-5)
    assert found.noise_NL is None
    np.testing.assert_array_equal(found.total_NL, found.model_NL)
    assert not found.calibrated


def test_ratios_are_formed_in_every_draw() -> None:
    draws = some_draws()
    draws.value_KNL[..., 2] = draws.value_KNL[..., 1] * SCALE.scale[1] / SCALE.scale[2]
    found = run(draws)
    np.testing.assert_allclose(found.centre_NL[:, 3], 0.2, atol=1e-5)
    assert found.model_NL[:, 3].max() < 1e-6
    assert found.model_NL[:, 1].min() > 0.1


def test_noise_is_the_mean_of_exp_s() -> None:
    draws = some_draws(noise=True)
    found = run(draws)
    assert found.noise_NL is not None
    expected = np.sqrt(np.exp(draws.log_variance_KNL.astype(float)).mean(axis=0)) * SCALE.scale
    np.testing.assert_allclose(found.noise_NL[:, :3], expected, rtol=1e-5)
    np.testing.assert_allclose(found.noise_NL[:, 3], np.hypot(expected[:, 1], expected[:, 2]), rtol=1e-5)
    np.testing.assert_allclose(found.total_NL, np.hypot(found.model_NL, found.noise_NL), rtol=1e-5)


def test_pooled_draws_obey_the_law_of_total_variance() -> None:
    draws = some_draws()
    parts = draws.value_KNL.reshape(3, 20, 11, 3).astype(float)
    total = parts.var(axis=1).mean(axis=0) + parts.mean(axis=1).var(axis=0)
    np.testing.assert_allclose(run(draws).model_NL[:, :3], np.sqrt(total) * SCALE.scale, rtol=1e-5)


def test_the_calibrated_error_is_scaled_and_floored() -> None:
    found, raw = run(some_draws(), scale=2.0, floor=0.3), run(some_draws())
    assert found.calibrated
    np.testing.assert_allclose(found.total_NL, np.hypot(2 * raw.total_NL, 0.3), rtol=1e-5)
    np.testing.assert_array_equal(found.model_NL, raw.model_NL)


def test_labels_too_uncertain_to_calibrate_with_leave_the_raw_error() -> None:
    residual = np.random.default_rng(0).normal(size=500).astype(np.float32)
    raw = np.full(500, 0.3, np.float32)
    assert fit_calibration(residual, raw, np.full(500, 1.2, np.float32)) == (1.0, 0.0)


@pytest.mark.parametrize("label_error", [0.0, 0.05])
def test_calibration_recovers_scale_and_floor(label_error: float) -> None:
    generator = np.random.default_rng(4)
    raw = generator.uniform(0.01, 0.2, 20_000).astype(np.float32)
    true = np.hypot(np.hypot(2.5 * raw, 0.04), label_error)
    residual = (generator.normal(size=raw.size) * true).astype(np.float32)
    residual[:100] += 30
    scale, floor = fit_calibration(residual, raw, np.full(raw.size, label_error, np.float32))
    assert scale == pytest.approx(2.5, rel=0.05)
    assert floor == pytest.approx(0.04, rel=0.25)
    fitted = np.hypot(np.hypot(scale * raw, floor), label_error)
    assert coverage(residual, fitted.astype(np.float32)) == pytest.approx(ONE_SIGMA, abs=0.01)
    assert coverage(residual, raw) < 0.4


def test_outliers_count_in_the_coverage_and_do_not_rule_the_shape() -> None:
    generator = np.random.default_rng(5)
    raw = generator.uniform(0.01, 0.2, 20_000).astype(np.float32)
    residual = (generator.normal(size=raw.size) * 2.5 * raw).astype(np.float32)
    residual[:1000] += 30
    scale, floor = fit_calibration(residual, raw, np.zeros_like(raw))
    assert coverage(residual, np.hypot(scale * raw, floor)) == pytest.approx(ONE_SIGMA, abs=0.001)
    assert scale == pytest.approx(2.5 * 1.09, rel=0.05)
    assert floor < 0.01
