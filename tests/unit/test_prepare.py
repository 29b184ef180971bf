"""Preparation: small pure functions, and the properties that keep labels honest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.prepare.coadd import coadd_arms, union_grid
from engine.prepare.continuum import make_smoother, normalise, snr
from engine.prepare.frame import LIGHT_KMS, rest_factor
from engine.prepare.mask import TELLURIC_WINDOWS, clean, in_windows
from engine.prepare.resample import resample
from engine.prepare.scale import Affine, fit_median_iqr
from engine.surveys import SURVEYS
from engine.types import Arm, Grid

GRID = Grid(start=4000.0, step=0.8, pixels=3000)
floats = st.floats(-1e6, 1e6, width=32)


def smooth_spectra(rows: int, grid: Grid = GRID, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sloped continua with shallow lines and S/N near 50."""
    generator = np.random.default_rng(seed)
    x = (grid.wave_P - grid.start) / (grid.high - grid.start)
    lines = 1 - 0.4 * np.exp(-0.5 * ((np.arange(grid.pixels) % 211 - 100) / 2.0) ** 2)
    level = generator.uniform(20, 200, (rows, 1)) * (1 + generator.uniform(-0.5, 0.5, (rows, 1)) * x)
    ivar = np.broadcast_to((50 / level) ** 2, (rows, grid.pixels)).astype(np.float32)
    flux = level * lines + generator.normal(size=(rows, grid.pixels)) / np.sqrt(ivar)
    return flux.astype(np.float32), ivar.copy()


def test_clean_wants_mask_and_ivar_and_finite_flux() -> None:
    flux = np.array([[1, 2, np.nan, np.inf, 5, 6]], np.float32)
    ivar = np.array([[1, 1, 1, 1, 0, np.nan]], np.float32)
    mask = np.array([[0, 4, 0, 0, 0, 0]], np.int32)
    good_flux, good_ivar, nonfinite = clean(flux, ivar, mask)
    assert good_flux.tolist() == [[1, 0, 0, 0, 0, 0]]
    assert good_ivar.tolist() == [[1, 0, 0, 0, 0, 0]]
    assert nonfinite.tolist() == [3]


def test_telluric_windows_cover_the_a_and_b_bands() -> None:
    inside = in_windows(np.array([6859.0, 6900.0, 7650.0, 7800.0]), TELLURIC_WINDOWS)
    assert inside.tolist() == [False, True, True, False]


def test_the_union_of_the_desi_arms_has_7781_pixels() -> None:
    grid = union_grid(SURVEYS["desi"].arms)
    assert (grid.start, grid.pixels) == (3600.0, 7781)
    assert grid.high == pytest.approx(9824.0)


def test_arms_that_do_not_align_are_refused() -> None:
    arms = (
        Arm(name="b", grid=Grid(start=0, step=0.8, pixels=10)),
        Arm(name="r", grid=Grid(start=4.1, step=0.8, pixels=9)),
    )
    with pytest.raises(ValueError, match="does not align"):
        union_grid(arms)


# Products of numbers near the least that float32 holds are no longer proportional.
ivars = st.floats(0, 100, width=32).map(lambda ivar: ivar if ivar > 1e-20 else 0.0)


@given(
    arrays(np.float32, (2, 8), elements=ivars),
    arrays(np.float32, (2, 8), elements=st.floats(-1e3, 1e3, width=32)),
)
def test_coadd_is_the_inverse_variance_mean_where_arms_overlap(ivar: np.ndarray, flux: np.ndarray) -> None:
    arms = (
        Arm(name="b", grid=Grid(start=0, step=1, pixels=8)),
        Arm(name="r", grid=Grid(start=5, step=1, pixels=8)),
    )
    both_flux, both_ivar = coadd_arms(arms, (flux, flux[::-1]), (ivar, ivar[::-1]))
    np.testing.assert_array_equal(both_flux[:, :5], flux[:, :5])
    np.testing.assert_array_equal(both_ivar[:, 8:], ivar[::-1, 3:])
    total = ivar[:, 5:].astype(float) + ivar[::-1, :3]
    weighted = ivar[:, 5:].astype(float) * flux[:, 5:] + ivar[::-1, :3].astype(float) * flux[::-1, :3]
    np.testing.assert_allclose(both_ivar[:, 5:8], total, rtol=1e-5)
    expected = np.where(total > 0, weighted / np.where(total > 0, total, 1), both_flux[:, 5:8])
    np.testing.assert_allclose(both_flux[:, 5:8], expected, rtol=1e-3, atol=1e-2)


def test_spectra_at_rest_are_never_shifted_again() -> None:
    rv = np.array([300.0, np.nan], np.float32)
    assert rest_factor("rest", rv).tolist() == [1.0, 1.0]
    np.testing.assert_allclose(rest_factor("observed", rv), [1 + 300 / LIGHT_KMS, 1.0])


def test_resampling_on_the_same_grid_changes_nothing() -> None:
    flux, ivar = smooth_spectra(3)
    again_flux, again_ivar = resample(flux, ivar, axis=GRID, to=GRID, factor_N=np.ones(3))
    np.testing.assert_array_equal(again_flux, flux)
    np.testing.assert_allclose(again_ivar, ivar, rtol=1e-6)


@given(st.floats(-900, 900))
def test_a_shifted_line_comes_back_to_its_rest_wavelength(rv: float) -> None:
    factor = rest_factor("observed", np.array([rv]))
    observed = np.exp(-0.5 * ((GRID.wave_P / factor - 5200.0) / 3.0) ** 2)[None].astype(np.float32)
    rest, ivar = resample(observed, np.ones_like(observed), axis=GRID, to=GRID, factor_N=factor)
    line = (rest[0] * (np.abs(GRID.wave_P - 5200) < 20)).astype(float)
    assert (line * GRID.wave_P).sum() / line.sum() == pytest.approx(5200.0, abs=0.02)
    assert ((ivar == 0) | (ivar >= 0.999)).all()


def test_a_missing_pixel_takes_its_neighbours_with_it_and_no_further() -> None:
    flux, ivar = smooth_spectra(1)
    ivar[0, 1000] = 0
    _, shifted = resample(flux, ivar, axis=GRID, to=GRID, factor_N=np.array([1 + 0.4 / GRID.wave_P[1000]]))
    assert np.flatnonzero(shifted[0, 900:1100] == 0).tolist() == [99, 100]


def test_the_continuum_is_flat_and_does_not_move_with_noise() -> None:
    flux, ivar = smooth_spectra(40)
    clean_ratio, _, _ = normalise(flux, ivar, make_smoother(GRID))
    noisy = (flux + np.random.default_rng(5).normal(size=flux.shape) * 4 / np.sqrt(ivar)).astype(np.float32)
    noisy_ratio, _, _ = normalise(noisy, ivar / 17, make_smoother(GRID))
    assert np.abs(np.median(clean_ratio, axis=0) - np.median(clean_ratio)).max() < 0.45
    assert abs(clean_ratio.mean() - 1) < 0.005
    assert abs(noisy_ratio.mean() - clean_ratio.mean()) < 0.002


def test_gaps_and_spikes_do_not_move_the_continuum() -> None:
    flux, ivar = smooth_spectra(20)
    before, _, _ = normalise(flux, ivar, make_smoother(GRID))
    hurt_flux, hurt_ivar = flux.copy(), ivar.copy()
    hurt_ivar[:, 1200:1500] = 0
    hurt_flux[:, ::400] *= 50
    after, weight, spikes = normalise(hurt_flux, hurt_ivar, make_smoother(GRID))
    # ::400 hits eight pixels, of which one lies in the gap.
    assert (spikes == 7).all()
    untouched = weight > 0
    assert not untouched[:, ::400].any()
    assert np.abs(after - before)[untouched].max() < 0.08


def test_normalising_ignores_the_scale_of_the_flux() -> None:
    flux, ivar = smooth_spectra(3)
    smoother = make_smoother(GRID)
    np.testing.assert_allclose(
        normalise(flux * 64, ivar / 4096, smoother)[0], normalise(flux, ivar, smoother)[0], rtol=1e-5
    )


@given(st.integers(0, 2**32 - 1))
def test_a_masked_pixel_cannot_change_the_result(seed: int) -> None:
    generator = np.random.default_rng(seed)
    flux, ivar = smooth_spectra(2, seed=seed)
    mask = (generator.random(flux.shape) < 0.02).astype(np.int32)
    garbage = np.where(mask, generator.choice([1e6, -1e6, np.nan, np.inf], flux.shape), flux).astype(
        np.float32
    )
    results = []
    for version in (flux, garbage):
        good_flux, good_ivar, _ = clean(version, ivar, mask)
        shifted = resample(good_flux, good_ivar, axis=GRID, to=GRID, factor_N=np.array([1.0003, 0.9997]))
        results.append(normalise(*shifted, make_smoother(GRID)))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_spectrum_without_light_has_no_good_pixel() -> None:
    zero = np.zeros((1, GRID.pixels), np.float32)
    flux, ivar, _ = normalise(zero, zero, make_smoother(GRID))
    assert (flux == 1).all()
    assert (ivar == 0).all()
    assert snr(zero, zero).tolist() == [0.0]


def test_snr_is_the_median_per_pixel() -> None:
    flux, ivar = smooth_spectra(5)
    np.testing.assert_allclose(snr(flux, ivar), 50, rtol=0.05)


@given(arrays(np.float32, (7, 3), elements=st.floats(-1e4, 1e4, width=32)))
def test_scale_then_unscale_is_the_identity(x: np.ndarray) -> None:
    affine = fit_median_iqr(x, np.ones_like(x, bool), least=1.0, rare=0.0)
    np.testing.assert_allclose(affine.invert(affine.apply(x)), x, rtol=1e-5, atol=2e-2)


def test_median_and_iqr_are_of_the_known_values_alone() -> None:
    x = np.array([[1, 7], [2, 7], [3, 7], [4, 7], [999, 7]], np.float32)
    known = np.array([[1, 1], [1, 1], [1, 1], [1, 1], [0, 1]], bool)
    affine = fit_median_iqr(x, known, least=0.5, rare=0.0)
    assert affine == Affine(centre=affine.centre, scale=affine.scale)
    assert affine.centre.tolist() == [2.5, 7.0]
    assert affine.scale.tolist() == [1.5, 0.5]


def test_a_pixel_that_hardly_any_star_has_becomes_exactly_zero() -> None:
    """Not nearly: tiny numbers turn into denormals in the optimiser, which are a hundred times slower."""
    x = np.ones((100, 2), np.float32)
    known = np.ones((100, 2), bool)
    known[3:, 1] = False
    affine = fit_median_iqr(x, known, least=1e-3, rare=0.05)
    assert affine.apply(np.array([[5.0, 5.0]], np.float32))[0, 1] == 0.0
    assert np.isfinite(affine.scale[0])
