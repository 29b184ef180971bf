"""Preparation on every kind of axis: log grids, own wavelengths, air, coarser pixels, coefficients."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.prepare.gather import gather
from engine.prepare.medium import convert
from engine.prepare.normalised import over_first, over_level
from engine.prepare.resample import resample
from engine.types import Arm, Basis, Grid, Input, Spectrograph, Waves

LOG = Grid(start=4.179, step=6e-6, pixels=8575, spacing="log10")
FINE = Grid(start=8460.0, step=0.1, pixels=2401)
COARSE = Grid(start=8462.0, step=0.5, pixels=470)

# Vacuum and air wavelengths as the SDSS lists them: H beta, [O III], H alpha.
LINES = [(4862.721, 4861.363), (4960.295, 4958.911), (5008.239, 5006.843), (6564.614, 6562.801)]


def batch(arms: tuple[Arm, ...], columns: dict[str, np.ndarray], rv: list[float | None]) -> pa.Table:
    """A batch with tensors for some arms; ivar 1 and mask 0 where not given."""
    data: dict[str, object] = {"rv": pa.array(rv, pa.float32())}
    for arm in arms:
        shape = (len(rv), arm.grid.pixels)
        defaults = {"ivar": np.ones(shape, np.float32), "mask": np.zeros(shape, np.int32)}
        for kind in ("wave", "flux", "ivar", "mask"):
            values = columns.get(f"{kind}_{arm.name}", defaults.get(kind))
            if values is not None:
                # A row of one star taken from a view may have strides that Arrow refuses.
                values = np.array(values, order="C").reshape(shape)
                data[f"{kind}_{arm.name}"] = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    return pa.table(data)


def test_the_apstar_grid_is_that_of_the_data_model() -> None:
    assert LOG.low == pytest.approx(15100.8, abs=0.01)
    assert LOG.high == pytest.approx(16999.81, abs=0.01)
    np.testing.assert_allclose(LOG.position(LOG.wave_P), np.arange(8575), atol=1e-5)


@pytest.mark.parametrize(("vacuum", "air"), LINES)
def test_air_wavelengths_are_the_published_ones(vacuum: float, air: float) -> None:
    assert convert(np.array([vacuum]), "vacuum", "air")[0] == pytest.approx(air, abs=2e-3)
    assert convert(np.array([air]), "air", "vacuum")[0] == pytest.approx(vacuum, abs=2e-3)


@given(st.floats(3000, 17000))
def test_there_and_back_is_the_same_wavelength(wave: float) -> None:
    there = convert(np.array([wave]), "vacuum", "air")
    assert convert(there, "air", "vacuum")[0] == pytest.approx(wave, abs=1e-6)


def test_a_coarser_grid_averages_and_keeps_the_flux_and_the_noise() -> None:
    generator = np.random.default_rng(0)
    truth = 1 - 0.5 * np.exp(-0.5 * ((FINE.wave_P - 8542.0) / 1.5) ** 2)
    flux = (truth + generator.normal(size=(400, FINE.pixels)) / 20).astype(np.float32)
    ivar = np.full(flux.shape, 400, np.float32)
    mean, weight = resample(flux, ivar, axis=FINE, to=COARSE, factor_N=np.ones(400))
    assert (weight > 0).all()
    np.testing.assert_allclose(weight, 2000, rtol=0.2)
    edges = [truth[np.abs(FINE.wave_P - wave) <= 0.2501].mean() for wave in COARSE.wave_P]
    np.testing.assert_allclose(mean.mean(axis=0), edges, atol=0.006)
    assert (mean - mean.mean(axis=0)).std() * np.sqrt(weight.mean()) == pytest.approx(1, abs=0.03)


def test_a_coarse_pixel_needs_half_its_width() -> None:
    flux, ivar = np.ones((1, FINE.pixels), np.float32), np.ones((1, FINE.pixels), np.float32)
    middle = round((COARSE.wave_P[100] - FINE.start) / FINE.step)
    ivar[0, middle - 1 : middle + 1] = 0
    flux[0, middle - 1 : middle + 1] = 1e6
    mean, weight = resample(flux, ivar, axis=FINE, to=COARSE, factor_N=np.ones(1))
    assert weight[0, 100] == pytest.approx(3, rel=0.01)
    assert mean[0, 100] == pytest.approx(1)
    ivar[0, middle + 1] = 0
    assert resample(flux, ivar, axis=FINE, to=COARSE, factor_N=np.ones(1))[1][0, 100] == 0


def test_own_wavelengths_give_what_their_grid_gives() -> None:
    generator = np.random.default_rng(1)
    flux = generator.normal(10, 1, (3, FINE.pixels)).astype(np.float32)
    ivar = generator.uniform(0.5, 2, flux.shape).astype(np.float32)
    waves = np.tile(FINE.wave_P, (3, 1))
    factor = np.array([1.0, 1.0002, 0.9997])
    for to in (COARSE, Grid(start=8470.03, step=0.1, pixels=2000)):
        by_grid = resample(flux, ivar, axis=FINE, to=to, factor_N=factor)
        by_wave = resample(flux, ivar, axis=waves, to=to, factor_N=factor)
        np.testing.assert_array_equal(by_grid[1] > 0, by_wave[1] > 0)
        np.testing.assert_allclose(by_grid[0], by_wave[0], rtol=2e-3, atol=1e-3)


def test_a_star_does_not_depend_on_its_neighbours_pixels() -> None:
    short = np.full((2, 400), np.nan)
    short[0] = np.linspace(8460, 8700, 400)
    short[1, :200] = np.linspace(8500, 8600, 200)
    flux, ivar = np.ones((2, 400), np.float32), np.ones((2, 400), np.float32)
    both = resample(flux, ivar, axis=short, to=COARSE, factor_N=np.ones(2))
    alone = resample(flux[1:], ivar[1:], axis=short[1:], to=COARSE, factor_N=np.ones(1))
    np.testing.assert_array_equal(both[1][1], alone[1][0])
    assert both[1][1].any()
    nothing = resample(flux, ivar, axis=np.full((2, 400), np.nan), to=COARSE, factor_N=np.ones(2))
    assert not nothing[1].any()


def test_a_line_in_air_that_moves_comes_to_its_vacuum_rest_wavelength() -> None:
    """A shift is one of vacuum wavelengths; the air must be left first."""
    grid = Grid(start=6480.0, step=0.05, pixels=6000)
    rv = 250.0
    seen = convert(np.array([6564.614 * (1 + rv / 299_792.458)]), "vacuum", "air")[0]
    flux = (1 - 0.8 * np.exp(-0.5 * ((grid.wave_P - seen) / 0.4) ** 2)).astype(np.float32)[None]
    arm = Arm(name="x", grid=grid)
    spectrograph = Spectrograph(arms=(arm,), frame="observed", medium="air")
    to = Grid(start=6500.0, step=0.05, pixels=3000)
    found = gather(batch((arm,), {"flux_x": flux}, [rv]), spectrograph, to, "vacuum")
    depth = np.where(found.ivar_NP[0] > 0, 1 - found.flux_NP[0], 0) * (np.abs(to.wave_P - 6564.6) < 3)
    assert (depth * to.wave_P).sum() / depth.sum() == pytest.approx(6564.614, abs=0.005)


def test_chips_with_their_own_wavelengths_fill_one_grid() -> None:
    arms = (
        Arm(name="a", grid=Waves(pixels=500, low=8400, high=8600)),
        Arm(name="b", grid=Waves(pixels=600, low=8550, high=8700)),
    )
    columns = {
        "wave_a": np.linspace(8455, 8580, 500)[None],
        "wave_b": np.linspace(8560, 8705, 600)[None],
        "flux_a": np.full((1, 500), 2, np.float32),
        "flux_b": np.full((1, 600), 4, np.float32),
    }
    spectrograph = Spectrograph(arms=arms, frame="rest", medium="vacuum")
    found = gather(batch(arms, columns, [None]), spectrograph, FINE, "vacuum")
    assert (found.ivar_NP > 0).all()
    shared = (FINE.wave_P > 8560.5) & (FINE.wave_P < 8579.5)
    assert (found.flux_NP[0, FINE.wave_P < 8559] == 2).all()
    assert (found.flux_NP[0, FINE.wave_P > 8581] == 4).all()
    assert ((found.flux_NP[0, shared] > 2.4) & (found.flux_NP[0, shared] < 3.6)).all()


def xp(coefficients: np.ndarray, mask: np.ndarray | None = None) -> pa.Table:
    arms = (Arm(name="bp", grid=Basis(pixels=3)), Arm(name="rp", grid=Basis(pixels=3)))
    columns = {"flux_bp": coefficients[:, :3].copy(), "flux_rp": coefficients[:, 3:].copy()}
    if mask is not None:
        columns["mask_bp"] = mask
    return batch(arms, columns, [None] * len(coefficients))


XP = Spectrograph(
    arms=(Arm(name="bp", grid=Basis(pixels=3)), Arm(name="rp", grid=Basis(pixels=3))),
    frame="rest",
    medium="vacuum",
)
WANTED = Input(grid=Basis(pixels=6), frame="rest", medium="vacuum")


def test_coefficients_do_not_depend_on_the_brightness() -> None:
    one = np.array([[5, 1, -2, 10, 3, -1]], np.float32)
    faint, bright = (over_first(xp(one * factor), XP, WANTED) for factor in (1, 1000))
    np.testing.assert_allclose(faint.flux_NP, bright.flux_NP, rtol=1e-6)
    np.testing.assert_allclose(faint.flux_NP[0], one[0] / 10)
    np.testing.assert_allclose(bright.ivar_NP, faint.ivar_NP * 1e6, rtol=1e-5)


def test_a_source_without_bp_keeps_its_rp() -> None:
    one = np.array([[5, 1, -2, 10, 3, -1]], np.float32)
    found = over_first(xp(one, np.ones((1, 3), np.int32)), XP, WANTED)
    assert found.ivar_NP[0].astype(bool).tolist() == [False] * 3 + [True] * 3
    assert found.good_fraction_N[0] == 0.5


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_the_level_goes_and_the_shape_stays(scale: float) -> None:
    grid = Grid(start=3360.0, step=20.0, pixels=343)
    shape: Callable = lambda x: 1 + 0.5 * np.sin(x / 900)  # noqa: E731
    arm = Arm(name="xp", grid=grid)
    flux = (scale * shape(grid.wave_P)).astype(np.float32)[None]
    ivar = np.full((1, 343), 1 / scale**2, np.float32)
    found = over_level(
        batch((arm,), {"flux_xp": flux, "ivar_xp": ivar}, [None]),
        Spectrograph(arms=(arm,), frame="rest", medium="vacuum"),
        Input(grid=grid, frame="rest", medium="vacuum"),
    )
    expected = shape(grid.wave_P) / shape(grid.wave_P).mean()
    np.testing.assert_allclose(found.flux_NP[0], expected, rtol=1e-5)
