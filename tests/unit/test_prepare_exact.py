"""Preparation as published networks want it: exact pixels, exact levels, exact magnitudes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial.chebyshev import Chebyshev

from engine.prepare.absolute_magnitudes import EXTINCTION, MAGNITUDES, absolute_magnitudes
from engine.prepare.apogee_continuum import (
    APOGEE_GRID,
    APOGEE_PARTS,
    LEAST_CONTINUUM_PIXELS,
    Weighting,
    chip_level,
    line_free,
    over_apogee_continuum,
    over_parabola,
)
from engine.prepare.as_given import as_given, over_continuum_cut, parts_outside
from engine.surveys.apogee import APOGEE, APOGEE_VISIT
from engine.types import Arm, Extras, Grid, Input, Normalised, Spectrograph
from tests.cannon_giants import load_model, training_labels
from tests.unit.apogee_files import array, read_all

CPU = torch.device("cpu")
WEIGHTINGS: tuple[Weighting, ...] = ("ivar", "astronn")
APOGEE_INPUT = Input(grid=APOGEE_GRID, frame="rest", medium="vacuum", parts=APOGEE_PARTS)
APSTAR = Spectrograph(arms=(Arm(name="apogee", grid=APOGEE_GRID),), frame="rest", medium="vacuum")
KEPT = np.r_[tuple(slice(*part) for part in APOGEE_PARTS)]

HALPHA = ((6554.81, 6570.81),)
HR15N = Grid(start=6450.5, step=0.05, pixels=7181)
HR15N_INPUT = Input(grid=HR15N, frame="rest", medium="air", parts=parts_outside(HR15N, HALPHA))
GIRAFFE = Spectrograph(arms=(Arm(name="hr15n", grid=HR15N),), frame="rest", medium="air")


def batch(arm: str, flux: np.ndarray, ivar: np.ndarray, mask: np.ndarray | None = None) -> pa.Table:
    """A batch of one arm at rest."""
    mask = np.zeros(flux.shape, np.int32) if mask is None else mask
    columns = {"flux": flux.astype(np.float32), "ivar": ivar.astype(np.float32), "mask": mask}
    tensors = {
        f"{kind}_{arm}": pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))
        for kind, values in columns.items()
    }
    return pa.table({"rv": pa.nulls(len(flux), pa.float32()), **tensors})


def apogee_spectra(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sloped continua with lines, uneven errors and gaps at ivar 0, on the apStar grid."""
    generator = np.random.default_rng(seed)
    x = np.linspace(-1, 1, APOGEE_GRID.pixels)
    level = generator.uniform(50, 500, (rows, 1)) * (1 + generator.uniform(-0.3, 0.3, (rows, 1)) * x)
    flux = level * (1 - 0.3 * (np.arange(APOGEE_GRID.pixels) % 17 == 0))
    ivar = (100 / level * generator.lognormal(0, 0.7, level.shape)) ** 2
    gap = np.ones(APOGEE_GRID.pixels, bool)
    gap[KEPT] = False
    flux = flux + generator.normal(size=level.shape) / np.sqrt(ivar)
    return np.where(gap, 0, flux).astype(np.float32), np.where(gap, 0, ivar).astype(np.float32)


def chebyshev(flux_P: np.ndarray, ivar_P: np.ndarray, used_P: np.ndarray, weighting: Weighting) -> np.ndarray:
    """One chip's level as numpy fits it."""
    places = np.flatnonzero(used_P & (ivar_P > 0))
    ivar = ivar_P[places].astype(np.float64)
    w = np.sqrt(ivar) if weighting == "ivar" else 1 / (1 / ivar + 1e-8)
    return Chebyshev.fit(places, flux_P[places].astype(np.float64), 2, w=w)(np.arange(len(flux_P)))


def same(one: Normalised, other: Normalised, **tolerance: float) -> None:
    """Every field of a result by torch equals that by numpy."""
    for field in (
        "flux_NP",
        "ivar_NP",
        "snr_N",
        "lit_fraction_N",
        "good_fraction_N",
        "nonfinite_N",
        "spikes_N",
    ):
        found, wanted = getattr(one, field), getattr(other, field)
        assert isinstance(found, torch.Tensor), field
        assert str(found.dtype).removeprefix("torch.") == wanted.dtype.name, field
        np.testing.assert_allclose(found.cpu().numpy(), wanted, **tolerance)


# APOGEE


def test_without_the_gaps_there_are_7514_pixels() -> None:
    assert [last - first for first, last in APOGEE_PARTS] == [3028, 2495, 1991]
    assert APOGEE_INPUT.pixels == 7514
    flux, ivar = apogee_spectra(2)
    found = over_apogee_continuum(batch("apogee", flux, ivar), APSTAR, APOGEE_INPUT)
    assert found.flux_NP.shape == found.ivar_NP.shape == (2, 7514)
    assert found.lit_fraction_N.tolist() == found.good_fraction_N.tolist() == [1, 1]
    assert found.spikes_N.tolist() == [0, 0]


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@given(st.integers(0, 2**32 - 1))
def test_the_level_is_that_of_numpy(weighting: Weighting, seed: int) -> None:
    generator = np.random.default_rng(seed)
    flux = generator.uniform(50, 150, (3, 1991)).astype(np.float32)
    ivar = (10 ** generator.uniform(-4, 3, flux.shape)).astype(np.float32)
    ivar[generator.random(flux.shape) < 0.1] = 0
    used = generator.random(1991) < 0.07
    found = chip_level(flux, ivar, used, weighting)
    for n in range(3):
        np.testing.assert_allclose(found[n], chebyshev(flux[n], ivar[n], used, weighting), rtol=1e-6)


def test_the_weightings_differ_where_errors_do() -> None:
    flux, ivar = apogee_spectra(1)
    used = np.ones(3028, bool)
    one, other = (chip_level(flux[:, 246:3274], ivar[:, 246:3274], used, w) for w in WEIGHTINGS)
    assert 1e-5 < np.abs(one / other - 1).max() < 0.1


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_chips_are_fitted_one_by_one_on_the_continuum_pixels(weighting: Weighting) -> None:
    flux, ivar = apogee_spectra(3)
    ivar[:, 1000:1100] = 0
    used = np.arange(7514) % 11 == 3
    found = over_apogee_continuum(
        batch("apogee", flux, ivar), APSTAR, APOGEE_INPUT, continuum_P=used, weighting=weighting
    )
    start = 0
    for first, last in APOGEE_PARTS:
        chip = slice(start, start + last - first)
        start = chip.stop
        for n in range(3):
            level = chebyshev(flux[n, first:last], ivar[n, first:last], used[chip], weighting)
            good = ivar[n, first:last] > 0
            wanted = np.where(good, np.maximum(flux[n, first:last] / level, 0), 1)
            np.testing.assert_allclose(found.flux_NP[n, chip], wanted, rtol=1e-6)
            np.testing.assert_allclose(found.ivar_NP[n, chip], ivar[n, first:last] * level**2, rtol=1e-6)


@given(st.integers(0, 2**32 - 1))
def test_a_bad_pixel_cannot_change_the_others(seed: int) -> None:
    generator = np.random.default_rng(seed)
    flux, ivar = apogee_spectra(1, seed)
    mask = (generator.random(flux.shape) < 0.05).astype(np.int32)
    garbage = generator.choice([1e6, -1e6, np.nan, np.inf], flux.shape)
    one, other = (
        over_apogee_continuum(batch("apogee", f, ivar, mask), APSTAR, APOGEE_INPUT)
        for f in (flux, np.where(mask, garbage, flux))
    )
    np.testing.assert_array_equal(one.flux_NP, other.flux_NP)
    bad = mask[:, KEPT] > 0
    assert (one.flux_NP[bad] == 1).all()
    assert (one.ivar_NP[bad] == 0).all()
    assert one.good_fraction_N[0] == pytest.approx(1 - bad.mean())


def test_negative_flux_becomes_zero_and_stays_good() -> None:
    flux, ivar = apogee_spectra(1)
    flux[0, 500] = -30
    found = over_apogee_continuum(batch("apogee", flux, ivar), APSTAR, APOGEE_INPUT)
    assert found.flux_NP[0, 500 - 246] == 0
    assert found.ivar_NP[0, 500 - 246] > 0


def test_a_dark_spectrum_and_a_chip_of_too_few_pixels_are_missing() -> None:
    flux, ivar = apogee_spectra(3)
    flux[0] = ivar[0] = 0
    flux[1] = 0
    ivar[2, 6344 + LEAST_CONTINUUM_PIXELS - 1 :] = 0
    found = over_apogee_continuum(batch("apogee", flux, ivar), APSTAR, APOGEE_INPUT)
    assert (found.flux_NP[:2] == 1).all()
    assert (found.ivar_NP[:2] == 0).all()
    assert found.good_fraction_N.tolist() == [0, 0, np.float32(5523 / 7514)]
    assert found.lit_fraction_N[2] == np.float32((5523 + LEAST_CONTINUUM_PIXELS - 1) / 7514)


def test_a_star_is_the_same_alone_and_among_others() -> None:
    flux, ivar = apogee_spectra(5)
    for weighting in WEIGHTINGS:
        together, _ = over_parabola(flux[:, 246:3274], ivar[:, 246:3274], np.ones(3028, bool), weighting)
        alone, _ = over_parabola(flux[3:4, 246:3274], ivar[3:4, 246:3274], np.ones(3028, bool), weighting)
        np.testing.assert_array_equal(together[3:4], alone)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_torch_gives_numpys_apogee_pixels(weighting: Weighting) -> None:
    flux, ivar = apogee_spectra(4)
    flux[0, 3000:3100] = np.nan
    flux[1] = 0
    table, used = batch("apogee", flux, ivar), np.arange(7514) % 13 == 0
    options = {"continuum_P": used, "weighting": weighting}
    numpy = over_apogee_continuum(table, APSTAR, APOGEE_INPUT, **options)
    same(over_apogee_continuum(table, APSTAR, APOGEE_INPUT, CPU, **options), numpy, rtol=1e-6)


def test_line_free_pixels_are_high_known_and_spread() -> None:
    flux, ivar = apogee_spectra(60)
    ivar[:, KEPT[200]] = 0
    flux[:, KEPT[200]] = 1e6
    found = over_apogee_continuum(batch("apogee", flux, ivar), APSTAR, APOGEE_INPUT)
    chosen = line_free(found.flux_NP, found.ivar_NP)
    assert not chosen[200]
    assert not chosen[KEPT % 17 == 0].any()
    assert [chosen[first : first + 50].sum() for first in range(0, 7500, 50)] == [4] * 150


@pytest.mark.realdata
def test_line_free_pixels_hold_the_level_of_giants(realdata: Path) -> None:
    """Levels of noiseless Cannon giants of one continuum should not depend on the stars' lines."""
    labels = training_labels(realdata)[:300]
    truth = load_model(realdata)(labels)
    ivar = np.where(np.isnan(truth), 0, 1e4)
    table = batch("apogee", np.nan_to_num(truth), ivar)
    first = over_apogee_continuum(table, APSTAR, APOGEE_INPUT)
    chosen = line_free(first.flux_NP, first.ivar_NP)
    second = over_apogee_continuum(table, APSTAR, APOGEE_INPUT, continuum_P=chosen)
    scatter = [
        np.std(np.median(n.flux_NP / np.nan_to_num(truth[:, KEPT], nan=1), axis=1)) for n in (first, second)
    ]
    assert scatter[1] < 0.005
    assert scatter[1] < scatter[0] / 2


@pytest.mark.realdata
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_real_stars_get_numpys_level(realdata: Path, weighting: Weighting) -> None:
    table = read_all(APOGEE, realdata / "apogee")
    found = over_apogee_continuum(table, APOGEE.spectrograph, APOGEE_INPUT, weighting=weighting)
    assert found.flux_NP.shape == (8, 7514)
    assert (found.good_fraction_N > 0.5).all()
    flux, ivar, mask = (array(table, f"{kind}_apogee")[:, 3585:6080] for kind in ("flux", "ivar", "mask"))
    for n in range(8):
        good = (mask[n] == 0) & (ivar[n] > 0)
        level = chebyshev(flux[n], np.where(good, ivar[n], 0), np.ones(2495, bool), weighting)
        wanted = np.where(good, np.maximum(flux[n] / level, 0), 1)
        np.testing.assert_allclose(found.flux_NP[n, 3028:5523], wanted, rtol=1e-5, atol=1e-6)
    on_torch = over_apogee_continuum(table, APOGEE.spectrograph, APOGEE_INPUT, CPU, weighting=weighting)
    same(on_torch, found, rtol=1e-5)


@pytest.mark.realdata
def test_a_real_visit_comes_onto_the_grid(realdata: Path) -> None:
    table = read_all(APOGEE_VISIT, realdata / "apogee")
    found = over_apogee_continuum(table, APOGEE_VISIT.spectrograph, APOGEE_INPUT)
    assert found.flux_NP.shape == (len(table), 7514)
    assert (found.good_fraction_N > 0.5).all()
    assert np.median(found.flux_NP[found.ivar_NP > 0]) == pytest.approx(1, abs=0.05)


# Products that are normalised already


def test_without_halpha_there_are_6861_pixels() -> None:
    published = np.arange(6450, 6810, 0.05)[10:7191]
    assert len(published) == HR15N.pixels
    np.testing.assert_allclose(HR15N.wave_P, published, atol=1e-8)
    kept = ~((published > 6554.81) & (published < 6570.81))
    places = np.concatenate([np.arange(*part) for part in HR15N_INPUT.parts])
    assert places.tolist() == np.flatnonzero(kept).tolist()
    assert HR15N_INPUT.parts == ((0, 2087), (2407, 7181))
    assert HR15N_INPUT.pixels == 6861


@pytest.mark.parametrize(
    ("windows", "parts"),
    [
        ((), ((0, 10),)),
        (((101.5, 103.5),), ((0, 2), (4, 10))),
        (((102.0, 104.0),), ((0, 3), (4, 10))),
        (((0.0, 102.5), (104.5, 105.5), (105.2, 106.5)), ((3, 5), (7, 10))),
        (((50.0, 60.0),), ((0, 10),)),
    ],
)
def test_parts_lie_outside_of_windows(
    windows: tuple[tuple[float, float], ...], parts: tuple[tuple[int, int], ...]
) -> None:
    assert parts_outside(Grid(start=100.0, step=1.0, pixels=10), windows) == parts


def giraffe_spectra(rows: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(2)
    flux = 1 + generator.normal(size=(rows, HR15N.pixels)) / 50
    return flux.astype(np.float32), np.full(flux.shape, 2500, np.float32)


def test_what_is_given_is_not_normalised_again() -> None:
    flux, ivar = giraffe_spectra(2)
    flux *= 0.7
    mask = np.zeros(flux.shape, np.int32)
    mask[0, 100] = mask[0, 2200] = 1
    flux[1, 3000] = np.nan
    found = as_given(batch("hr15n", flux, ivar, mask), GIRAFFE, HR15N_INPUT)
    places = np.concatenate([np.arange(*part) for part in HR15N_INPUT.parts])
    missing = (mask[:, places] > 0) | np.isnan(flux[:, places])
    np.testing.assert_array_equal(found.flux_NP, np.where(missing, 1, flux[:, places]))
    np.testing.assert_array_equal(found.ivar_NP == 0, missing)
    np.testing.assert_allclose(found.good_fraction_N, 1 - 1 / 6861, rtol=1e-6)
    assert found.nonfinite_N.tolist() == [0, 1]


def test_observed_spectra_are_shifted_to_rest() -> None:
    line = 6707.81
    speed = 1 + 80 / 299_792.458
    flux = (1 - 0.5 * np.exp(-0.5 * ((HR15N.wave_P - line * speed) / 0.15) ** 2)).astype(np.float32)[None]
    table = batch("hr15n", flux, np.ones_like(flux)).set_column(0, "rv", pa.array([80.0], pa.float32()))
    observed = Spectrograph(arms=GIRAFFE.arms, frame="observed", medium="air")
    found = as_given(table, observed, HR15N_INPUT)
    wave = np.concatenate([HR15N.wave_P[slice(*part)] for part in HR15N_INPUT.parts])
    assert wave[np.argmin(found.flux_NP[0])] == pytest.approx(line, abs=0.05)


def test_raw_counts_are_normalised_and_cut() -> None:
    flux, ivar = giraffe_spectra(2)
    counts = flux * np.linspace(4000, 6000, HR15N.pixels, dtype=np.float32)
    found = over_continuum_cut(batch("hr15n", counts, ivar / 25e6), GIRAFFE, HR15N_INPUT)
    assert found.flux_NP.shape == (2, 6861)
    assert (found.good_fraction_N == 1).all()
    np.testing.assert_allclose(found.flux_NP.mean(axis=1), 1, atol=0.005)


@pytest.mark.parametrize("prepare", [as_given, over_continuum_cut])
def test_torch_gives_numpys_cut_pixels(prepare) -> None:
    flux, ivar = giraffe_spectra(3)
    ivar[0, 500:600] = 0
    flux[1] = ivar[1] = 0
    table = batch("hr15n", flux, ivar)
    same(prepare(table, GIRAFFE, HR15N_INPUT, CPU), prepare(table, GIRAFFE, HR15N_INPUT), rtol=2e-5)


# Photometry


def photometry(parallax: list[float | None], **columns: list[float | None]) -> pa.Table:
    defaults = {name: [10.0 + k] * len(parallax) for k, name in enumerate(MAGNITUDES)}
    defaults[EXTINCTION] = [0.25] * len(parallax)
    values = {"parallax": parallax, **defaults, **columns}
    return pa.table({name: pa.array(column, pa.float32()) for name, column in values.items()})


def published(magnitude: np.ndarray, parallax_mas: np.ndarray) -> np.ndarray:
    """Guiglion et al. 2020, the formula of their notebook."""
    return magnitude + 5 * (np.log10(np.clip(parallax_mas / 1000, 1e-4, 6.8e8)) + 1)


def test_magnitudes_are_those_at_ten_parsec() -> None:
    found = absolute_magnitudes(photometry([100.0, 1.0]))
    assert isinstance(found, Extras)
    assert found.names == (*(f"absolute_{name}" for name in MAGNITUDES), "a_v")
    assert found.value_NE.dtype == np.float32
    np.testing.assert_allclose(found.value_NE[0], [*np.arange(10, 18), 0.25], rtol=1e-6)
    np.testing.assert_allclose(found.value_NE[1], [*np.arange(0, 8), 0.25], atol=1e-5)
    assert found.saturated_N.tolist() == [False, False]


def test_small_and_negative_parallaxes_read_as_ten_kiloparsec_and_say_so() -> None:
    parallax = [0.1001, 0.0999, 0.0, -3.0]
    found = absolute_magnitudes(photometry(parallax))
    assert found.saturated_N.tolist() == [False, True, True, True]
    np.testing.assert_allclose(found.value_NE[1:, 0], -5, atol=1e-5)
    np.testing.assert_allclose(found.value_NE[:, 0], published(np.full(4, 10), np.array(parallax)), atol=1e-5)


def test_what_is_missing_is_nan_and_nothing_else() -> None:
    table = photometry([2.0, None, 2.0, np.nan], tmass_ks=[None, 9, 9, 9], a_v=[0.1, 0.1, None, np.inf])
    found = absolute_magnitudes(table)
    missing = np.zeros((4, 9), bool)
    missing[0, 5] = missing[2, 8] = missing[3, 8] = True
    missing[1, :8] = missing[3, :8] = True
    np.testing.assert_array_equal(np.isnan(found.value_NE), missing)
    assert not found.saturated_N.any()


@pytest.mark.realdata
def test_the_training_stars_of_rave_get_their_magnitudes(realdata: Path) -> None:
    rows = np.genfromtxt(realdata / "rave" / "training_sample_parameters.csv", delimiter=",", skip_header=1)
    columns = dict(zip(("parallax", *MAGNITUDES, EXTINCTION), rows.T, strict=True))
    found = absolute_magnitudes(pa.table(columns))
    assert found.value_NE.shape == (3904, 9)
    wanted = published(rows[:, 1:9], rows[:, :1])
    np.testing.assert_allclose(found.value_NE[:, :8], wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(found.value_NE[:, 8], rows[:, 9].astype(np.float32))
    np.testing.assert_array_equal(found.saturated_N, rows[:, 0] < 0.1)
    # Red-clump giants: M_Ks near -1.61 (Hawkins et al. 2017).
    labels = np.genfromtxt(realdata / "rave" / "training_sample_labels.csv", delimiter=",", skip_header=1)
    clump = (labels[:, 2] > 2.3) & (labels[:, 2] < 2.5)
    assert np.median(found.value_NE[clump, 5]) == pytest.approx(-1.61, abs=0.15)
