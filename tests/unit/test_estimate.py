"""Draws to labels: laws of variance, derived labels, calibration."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from engine.estimate import Labelling, calibrated, estimate
from engine.prepare.scale import Affine
from engine.train.calibrate import ONE_SIGMA, Residuals, coverage, fit_calibration
from engine.types import Calibration, Derived, Draws, Estimates, Label
from tests.inputs import draws_of

SCALE = Affine(
    centre=np.array([5000.0, -0.5, -0.3], np.float32), scale=np.array([800.0, 0.4, 0.5], np.float32)
)
MG_FE = (Derived(name="mg_fe", minuend="mg_h", subtrahend="fe_h"),)


def labels(calibration: Calibration | None) -> list[Label]:
    names = ("teff", "fe_h", "mg_h", "mg_fe")
    return [Label(name=n, unit="", ucd="", description="", calibration=calibration) for n in names]


def some_draws(noise: bool = False) -> Draws:
    generator = np.random.default_rng(0)
    value = generator.normal(size=(60, 11, 3)).astype(np.float32)
    return draws_of(value, generator.normal(size=(60, 11, 3)).astype(np.float32) if noise else None)


def run(draws: Draws, calibration: Calibration | None = None) -> Estimates:
    stars = draws.value_KNL.shape[1]
    labelling = Labelling(scale=SCALE, labels=tuple(labels(calibration)), derived=MG_FE)
    return estimate(draws, np.ones(stars, bool), np.full(stars, 50, np.float32), labelling)


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
    found, raw = run(some_draws(), Calibration(snr=(1.0,), scale=(2.0,), floor=(0.3,))), run(some_draws())
    assert found.calibrated
    np.testing.assert_allclose(found.total_NL, np.hypot(2 * raw.total_NL, 0.3), rtol=1e-5)
    np.testing.assert_array_equal(found.model_NL, raw.model_NL)


def test_between_knots_scale_and_floor_follow_the_logarithm_of_snr() -> None:
    fitted = Calibration(snr=(10.0, 100.0), scale=(3.0, 1.0), floor=(0.0, 0.2))
    snr = np.array([0.0, 1, 10, np.sqrt(1000), 100, 1e4], np.float32)
    scale, floor = [3, 3, 3, 2, 1, 1], [0, 0, 0, 0.1, 0.2, 0.2]
    found = calibrated(np.full(6, 0.5, np.float32), snr, fitted)
    np.testing.assert_allclose(found, np.hypot(np.multiply(scale, 0.5), floor), rtol=1e-6)


Curve = Callable[[np.ndarray], np.ndarray]


def some_residuals(
    stars: int, scale: Curve, floor: Curve, seed: int = 4, label_error: float = 0.0
) -> Residuals:
    """Stars of S/N 10 to 300 whose errors are wrong by a scale and a floor that depend on it."""
    generator = np.random.default_rng(seed)
    snr = np.exp(generator.uniform(np.log(10), np.log(300), stars)).astype(np.float32)
    raw = generator.uniform(0.01, 0.2, stars).astype(np.float32)
    true = np.hypot(np.hypot(scale(snr) * raw, floor(snr)), label_error)
    return Residuals(
        residual_N=(generator.normal(size=stars) * true).astype(np.float32),
        raw_N=raw,
        label_error_N=np.full(stars, label_error, np.float32),
        snr_N=snr,
    )


def constant(value: float) -> Curve:
    return lambda snr: np.full_like(snr, value)


def falling(at_10: float, at_300: float) -> Curve:
    """A power law between S/N 10 and 300."""
    return lambda snr: at_10 * (at_300 / at_10) ** (np.log(snr / 10) / np.log(30))


def coverage_along_snr(fitted: Calibration, stars: Residuals) -> np.ndarray:
    """Coverage in sixths of the stars by S/N."""
    total = np.hypot(calibrated(stars.raw_N, stars.snr_N, fitted), stars.label_error_N)
    shares = np.array_split(np.argsort(stars.snr_N), 6)
    return np.array([coverage(stars.residual_N[rows], total[rows]) for rows in shares])


def test_labels_too_uncertain_to_calibrate_with_leave_the_raw_error() -> None:
    stars = some_residuals(500, constant(1.0), constant(0.1))
    explained = replace(stars, label_error_N=np.full(500, 1.2, np.float32))
    fitted = fit_calibration(explained)
    assert (fitted.scale, fitted.floor) == ((1.0,), (0.0,))


@pytest.mark.parametrize("label_error", [0.0, 0.05])
def test_calibration_recovers_scale_and_floor(label_error: float) -> None:
    stars = some_residuals(20_000, constant(2.5), constant(0.04), label_error=label_error)
    stars.residual_N[:100] += 30
    fitted = fit_calibration(stars)
    assert len(fitted.snr) == 1
    assert fitted.scale[0] == pytest.approx(2.5, rel=0.05)
    assert fitted.floor[0] == pytest.approx(0.04, rel=0.25)
    assert coverage_along_snr(fitted, stars).mean() == pytest.approx(ONE_SIGMA, abs=0.01)
    assert coverage(stars.residual_N, stars.raw_N) < 0.4


def test_outliers_count_in_the_coverage_and_do_not_rule_the_shape() -> None:
    stars = some_residuals(20_000, constant(2.5), constant(0.0), seed=5)
    stars.residual_N[:1000] += 30
    fitted = fit_calibration(stars)
    assert coverage_along_snr(fitted, stars).mean() == pytest.approx(ONE_SIGMA, abs=0.001)
    assert fitted.scale == pytest.approx((2.5 * 1.09,), rel=0.05)
    assert fitted.floor[0] < 0.01


@pytest.mark.parametrize("label_error", [0.0, 0.03])
def test_scale_and_floor_are_recovered_where_they_change_with_snr(label_error: float) -> None:
    scale, floor = falling(4.0, 1.5), falling(0.2, 0.05)
    fitted = fit_calibration(some_residuals(8000, scale, floor, label_error=label_error))
    assert len(fitted.snr) > 1
    for snr in (15, 50, 200):
        at = np.log(snr), np.log(fitted.snr)
        assert np.interp(*at, fitted.scale) == pytest.approx(scale(np.float64(snr)), rel=0.12)
        assert np.interp(*at, fitted.floor) == pytest.approx(floor(np.float64(snr)), rel=0.25)
    new = some_residuals(40_000, scale, floor, seed=6, label_error=label_error)
    np.testing.assert_allclose(coverage_along_snr(fitted, new), ONE_SIGMA, atol=0.03)


def test_where_nothing_changes_with_snr_there_is_one_knot_and_it_covers_everywhere() -> None:
    new = some_residuals(40_000, constant(2.5), constant(0.05), seed=99)
    fits = [fit_calibration(some_residuals(1500, constant(2.5), constant(0.05), seed)) for seed in range(10)]
    assert sum(len(fitted.snr) > 1 for fitted in fits) <= 1
    for fitted in fits:
        np.testing.assert_allclose(coverage_along_snr(fitted, new), ONE_SIGMA, atol=0.05)


def test_where_bright_stars_tell_nothing_their_errors_are_those_of_all() -> None:
    """Not nothing: labels whose errors were given too large would make the prediction seem exact."""
    stars = some_residuals(3000, falling(6.0, 0.6), constant(0.0))
    bright = stars.snr_N > 150
    too_large = np.where(bright, 0.3, 0.0).astype(np.float32)
    fitted = fit_calibration(replace(stars, label_error_N=too_large))
    assert len(fitted.snr) == 1
    assert fitted.scale[0] > 1.5


def test_long_tails_are_no_change_with_snr() -> None:
    generator = np.random.default_rng(7)
    stars = some_residuals(2000, constant(2.5), constant(0.0))
    tails = generator.standard_t(5, size=2000).astype(np.float32)
    fitted = fit_calibration(replace(stars, residual_N=tails * 2.5 * stars.raw_N))
    assert len(fitted.snr) == 1


@pytest.mark.parametrize(("stars", "most"), [(20, 1), (150, 1), (250, 2), (100_000, 6)])
def test_a_knot_wants_a_hundred_stars(stars: int, most: int) -> None:
    fitted = fit_calibration(some_residuals(stars, falling(8.0, 0.5), falling(0.2, 0.02)))
    assert 1 <= len(fitted.snr) <= most
    assert list(fitted.snr) == sorted(set(fitted.snr))


def test_stars_of_one_snr_have_one_knot() -> None:
    stars = some_residuals(1000, constant(2.5), constant(0.04))
    fitted = fit_calibration(replace(stars, snr_N=np.full(1000, 50, np.float32)))
    assert fitted.snr == pytest.approx((50.0,))


def test_a_network_without_a_spread_has_the_floor_for_an_error() -> None:
    stars = some_residuals(4000, constant(0.0), constant(0.3))
    fitted = fit_calibration(replace(stars, raw_N=np.zeros(4000, np.float32)))
    assert fitted.floor == pytest.approx((0.3,), rel=0.05)
    assert 0.5 < fitted.scale[0] < 2
