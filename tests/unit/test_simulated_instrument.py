"""What an instrument does to light: velocity, brightness, dust, resolution, noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.simulate.instrument import ARMS, GRID, inverse_variance
from engine.simulate.labels import draw_labels
from engine.simulate.lines import atomic_lines
from engine.simulate.photometry import scale_to_magnitude
from engine.simulate.plan import plan_files
from engine.simulate.resolution import lsf_sigma, resolution_diagonals
from engine.simulate.scene import build_scene, observe
from engine.simulate.spectrum import (
    REST_STEP,
    REST_WAVELENGTH,
    absorbers,
    extinction_curve,
    shift_to,
    synthesize,
)
from tests.unit.simulated import labels

LIGHT_SPEED = 299792.458


@settings(max_examples=20)
@given(velocity=st.floats(-550, 550))
def test_velocity_moves_lines_by_doppler(velocity):
    center = 6600.0
    line = np.exp(-0.5 * ((REST_WAVELENGTH - center) / 0.75) ** 2).astype(np.float32)[None]
    moved = shift_to(line, np.array([velocity]), GRID)[0]
    expected = np.exp(-0.5 * ((GRID / (1 + velocity / LIGHT_SPEED) - center) / 0.75) ** 2)
    np.testing.assert_allclose(moved, expected, atol=7e-3)


def test_flux_follows_the_magnitude():
    shape = shift_to(synthesize(labels(2)), np.zeros(2), GRID)
    bright, faint = scale_to_magnitude(shape, np.array([15.0, 16.0]))
    np.testing.assert_allclose(bright / faint, 10**0.4, rtol=1e-5)
    assert 80 < np.median(faint[(GRID > 6000) & (GRID < 6500)]) < 130


def test_extinction_curve_is_that_of_the_diffuse_medium():
    a_v, a_b = extinction_curve(np.array([5494.5, 4400.0]))
    assert a_v == pytest.approx(3.1, abs=0.01)
    assert a_b - a_v == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_resolution_columns_conserve_flux_and_have_the_width_of_the_lsf(arm):
    diagonals = resolution_diagonals(arm.wavelength_P).astype(np.float64)
    inner = slice(6, -6)
    np.testing.assert_allclose(diagonals.sum(axis=0)[inner], 1, atol=1e-5)
    offset = np.arange(5, -6, -1)[:, None]
    variance = (diagonals * offset**2).sum(axis=0)
    expected = (lsf_sigma(arm.wavelength_P) / 0.8) ** 2 + 1 / 12
    np.testing.assert_allclose(variance[inner], expected[inner], rtol=2e-3)


def test_a_narrow_line_is_blurred_as_the_resolution_says():
    lines = atomic_lines()
    index = int(np.argmin(np.abs(lines.wavelength_L - 6254.3)))
    profile = absorbers().profile_KP[index].astype(np.float64)
    variance = (profile * (REST_WAVELENGTH - lines.wavelength_L[index]) ** 2).sum() / profile.sum()
    assert profile.sum() * REST_STEP == pytest.approx(1, rel=1e-4)
    assert variance == pytest.approx(lsf_sigma(np.array([6254.3]))[0] ** 2 + 0.8**2 / 12, rel=1e-3)


def test_noise_has_the_size_of_its_ivar_and_the_mask_matters():
    plan = next(iter(plan_files(200, 200)))
    scene = build_scene(3, plan, lambda plan: draw_labels(np.random.default_rng(0), plan.stars - plan.shared))
    masked, spikes = [], 0
    for spectra in observe(3, plan, scene):
        part = slice(spectra.arm.start, spectra.arm.stop)
        pull = (spectra.flux_NP - scene.flux_NQ[:, part]) * np.sqrt(spectra.ivar_NP)
        kept = (spectra.mask_NP == 0) & (spectra.ivar_NP > 0)
        assert 1.4826 * np.median(np.abs(pull[kept])) == pytest.approx(1, abs=0.03)
        hurt = (spectra.mask_NP != 0) & (spectra.ivar_NP > 0)
        assert np.abs(pull[hurt]).mean() > 15
        masked.append(hurt.mean())
        spikes += len(np.unique(np.nonzero(kept & (pull > 15))[0]))
    assert 0.002 < np.mean(masked) < 0.004
    assert 5 < spikes < 50


def test_signal_to_noise_falls_from_100_at_14_to_5_at_20():
    shape = shift_to(synthesize(labels(2)), np.zeros(2), GRID)
    flux = scale_to_magnitude(shape, np.array([14.0, 20.0]))
    middle = ARMS[1]
    part = flux[:, middle.start : middle.stop]
    snr = np.median(part * np.sqrt(inverse_variance(part, middle, np.ones(2))), axis=1)
    assert 80 < snr[0] < 140 and 3 < snr[1] < 7
