"""Preparation in numpy and in torch: the same numbers of the same code, whatever else is in the batch.

The processor stands in for a GPU here: nothing may become numpy on the way, nor be made somewhere else.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.models.desi_mlp import DESI_GRID
from engine.models.mlp import APOGEE_GRID, GALAH_GRID, HR15N_GRID, RAVE_GRID, RVS_GRID, XP_GRID
from engine.prepare.array import column, flat_places, median, search_rows, take, tensor
from engine.prepare.continuum import make_smoother, normalise
from engine.prepare.medium import Medium, convert
from engine.prepare.normalised import CACHED_ROWS, Way, over_continuum, over_first, over_level
from engine.prepare.resample import resample
from engine.spec import SurveySpec
from engine.surveys import survey_of
from engine.types import Basis, Grid, Input, Normalised, Spectrograph, Task

CPU = torch.device("cpu")


def at_rest(grid: Grid | Basis, medium: Medium = "vacuum") -> Input:
    return Input(grid=grid, frame="rest", medium=medium)


# Aligned arms, wider pixels, log10 steps, own wavelengths (one arm and several), air, coefficients.
CASES: dict[str, tuple[str, Way, Input]] = {
    "desi": ("desi", over_continuum, at_rest(DESI_GRID)),
    "desi, coarser": ("desi", over_continuum, at_rest(Grid(start=3700.0, step=2.0, pixels=3000))),
    "desi, in air, as observed": (
        "desi",
        over_level,
        Input(grid=Grid(start=4000.0, step=0.7, pixels=5000), frame="observed", medium="air"),
    ),
    "apogee": ("apogee", over_continuum, at_rest(APOGEE_GRID)),
    "apogee_visit": ("apogee_visit", over_continuum, at_rest(APOGEE_GRID)),
    "galah": ("galah", over_continuum, at_rest(GALAH_GRID, "air")),
    "giraffe": ("giraffe", over_continuum, at_rest(HR15N_GRID, "air")),
    "rave": ("rave", over_continuum, at_rest(RAVE_GRID, "air")),
    "gaia_rvs": ("gaia_rvs", over_continuum, at_rest(RVS_GRID)),
    "gaia_xp_sampled": ("gaia_xp_sampled", over_level, at_rest(XP_GRID)),
    "gaia_xp": ("gaia_xp", over_first, at_rest(Basis(pixels=110))),
}


@pytest.fixture(params=CASES)
def case(
    request: pytest.FixtureRequest, simulated: Callable[[str], SurveySpec]
) -> tuple[Way, pa.Table, Spectrograph, Input]:
    """Spoilt spectra of a simulated survey, more than one block of them, and what is wanted of them."""
    name, way, wanted = CASES[request.param]
    spec = simulated(name)
    survey = survey_of(spec)
    tasks = [Task(task_id="all", shard=s, start=0, stop=s.rows) for s in survey.list_shards(spec)]
    spectra = pa.concat_tables([survey.read(spec, task) for task in tasks])[:48]
    assert len(spectra) > CACHED_ROWS
    return way, spoilt(spectra, survey.spectrograph), survey.spectrograph, wanted


def spoilt(spectra: pa.Table, spectrograph: Spectrograph) -> pa.Table:
    """Spectra with NaN and infinite pixels, spikes, a dead fibre, and velocities, of which one is unknown."""
    generator = np.random.default_rng(3)
    data = {name: spectra[name] for name in spectra.column_names}
    for arm in spectrograph.arms:
        flux, ivar = (tensor(spectra, f"{kind}_{arm.name}").copy() for kind in ("flux", "ivar"))
        for value in (np.nan, np.inf, 1e4 * np.nanmax(np.abs(flux))):
            flux[generator.random(flux.shape) < 0.002] = value
        ivar[generator.random(ivar.shape) < 0.002] = np.nan
        ivar[3] = 0
        for kind, values in (("flux", flux), ("ivar", ivar)):
            data[f"{kind}_{arm.name}"] = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    rv = generator.normal(0, 150, len(spectra)).astype(np.float32)
    rv[5] = np.nan
    data["rv"] = pa.array(rv, from_pandas=True)
    return pa.table(data)


def same(one: Normalised, other: Normalised, rows: np.ndarray | slice = slice(None)) -> bool:
    """Are they the same, bit by bit, once some rows of the other are chosen?"""
    names = [field.name for field in fields(Normalised)]
    return all(np.array_equal(getattr(one, name), getattr(other, name)[rows]) for name in names)


def test_torch_gives_what_numpy_gives(case: tuple[Way, pa.Table, Spectrograph, Input]) -> None:
    way, *rest = case
    one, other = way(*rest, None), way(*rest, CPU)
    assert one.nonfinite_N.any()
    assert (one.good_fraction_N > 0.4).mean() > 0.5
    for field in fields(Normalised):
        expected, found = getattr(one, field.name), getattr(other, field.name)
        assert isinstance(found, torch.Tensor)
        assert found.numpy().dtype == expected.dtype
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, err_msg=field.name)
    for name in ("lit_fraction_N", "good_fraction_N", "nonfinite_N", "spikes_N"):
        np.testing.assert_array_equal(getattr(other, name).numpy(), getattr(one, name))
    np.testing.assert_array_equal(other.ivar_NP.numpy() > 0, one.ivar_NP > 0)


def test_a_star_is_the_same_in_every_batch(case: tuple[Way, pa.Table, Spectrograph, Input]) -> None:
    way, spectra, *rest = case
    straight = way(spectra, *rest, None)
    order = np.random.default_rng(0).permutation(len(spectra))
    assert same(way(spectra.take(pa.array(order)), *rest, None), straight, order)
    for row in (0, 3, 5, len(spectra) - 1):
        assert same(way(spectra[row : row + 1], *rest, None), straight, slice(row, row + 1))


@pytest.mark.parametrize("device", [None, CPU])
def test_what_is_masked_cannot_be_seen(
    case: tuple[Way, pa.Table, Spectrograph, Input], device: torch.device | None
) -> None:
    way, spectra, spectrograph, wanted = case
    found = [
        way(under_masks(spectra, spectrograph, *pixel), spectrograph, wanted, device)
        for pixel in ((-1e5, 7.0), (np.nan, 0.2), (3e4, np.inf))
    ]
    names = [field.name for field in fields(Normalised) if field.name != "nonfinite_N"]
    for name in names:
        first, *others = (np.asarray(getattr(one, name)) for one in found)
        for other in others:
            np.testing.assert_array_equal(first, other)


def under_masks(spectra: pa.Table, spectrograph: Spectrograph, flux: float, ivar: float) -> pa.Table:
    """Spectra with one more pixel in a hundred masked, and these numbers under every mask."""
    generator = np.random.default_rng(1)
    data = {name: spectra[name] for name in spectra.column_names}
    for arm in spectrograph.arms:
        values = {kind: tensor(spectra, f"{kind}_{arm.name}").copy() for kind in ("flux", "ivar", "mask")}
        values["mask"][generator.random(values["mask"].shape) < 0.01] = 1
        masked = values["mask"] != 0
        values["flux"][masked], values["ivar"][masked] = flux, ivar
        for kind, array in values.items():
            data[f"{kind}_{arm.name}"] = pa.FixedShapeTensorArray.from_numpy_ndarray(array)
    return pa.table(data)


@pytest.mark.parametrize("name", ["desi", "desi, coarser", "apogee", "apogee_visit"])
def test_absurd_velocities_are_of_their_own_star_alone(
    name: str, simulated: Callable[[str], SurveySpec]
) -> None:
    survey_name, way, wanted = CASES[name]
    spec = simulated(survey_name)
    survey = survey_of(spec)
    [first, *_] = survey.list_shards(spec)
    spectra = survey.read(spec, Task(task_id="some", shard=first, start=0, stop=min(first.rows, 5)))
    rv = np.zeros(len(spectra), np.float32)
    absurd = rv.copy()
    absurd[: len(rv) - 1] = [np.inf, -np.inf, -4e5, 4e8][: len(rv) - 1]
    for device in (None, CPU):
        one, other = (
            way(
                spectra.set_column(spectra.column_names.index("rv"), "rv", pa.array(v)),
                survey.spectrograph,
                wanted,
                device,
            )
            for v in (rv, absurd)
        )
        np.testing.assert_array_equal(np.asarray(one.flux_NP)[-1], np.asarray(other.flux_NP)[-1])
        at_rest_already = survey.spectrograph.frame == "rest"
        assert np.asarray(other.good_fraction_N)[: len(rv) - 1].any() == at_rest_already


def test_no_stars_are_fine(case: tuple[Way, pa.Table, Spectrograph, Input]) -> None:
    way, spectra, spectrograph, wanted = case
    for device in (None, CPU):
        found = way(spectra[:0], spectrograph, wanted, device)
        assert found.flux_NP.shape == (0, wanted.grid.pixels)


@contextmanager
def far_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if tensors were on a GPU: they cannot become numpy, and do not meet those made somewhere else."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a tensor became numpy")

    with monkeypatch.context() as patch, torch.device("meta"):
        for name in ("numpy", "__array__", "tolist", "cpu"):
            patch.setattr(torch.Tensor, name, refuse)
        yield


def test_nothing_leaves_the_device(
    case: tuple[Way, pa.Table, Spectrograph, Input], monkeypatch: pytest.MonkeyPatch
) -> None:
    way, *rest = case
    with far_away(monkeypatch):
        found = way(*rest, CPU)
    assert {getattr(found, field.name).device for field in fields(Normalised)} == {CPU}


def test_stars_of_fine_and_of_coarse_pixels_share_a_batch() -> None:
    """One star is averaged, one interpolated, one has no wavelengths, one a single one."""
    wave = np.full((4, 2001), np.nan)
    wave[0] = np.linspace(8450, 8710, 2001)
    wave[1, :500] = np.linspace(8500, 8690, 500)
    wave[3, 0] = 8600
    generator = np.random.default_rng(0)
    flux = generator.normal(10, 1, wave.shape).astype(np.float32)
    ivar = generator.uniform(0, 2, wave.shape).astype(np.float32)
    ivar[generator.random(wave.shape) < 0.05] = 0
    to, factor = Grid(start=8462.0, step=0.4, pixels=600), np.array([1.0002, 0.9997, 1.0, 1.0])
    both = resample(flux, ivar, axis=wave, to=to, factor_N=factor)
    assert (both[1] > 0).any(axis=1).tolist() == [True, True, False, False]
    tensors = [torch.from_numpy(x) for x in (flux, ivar, wave, factor)]
    other = resample(tensors[0], tensors[1], axis=tensors[2], to=to, factor_N=tensors[3])
    for one, two in zip(both, other, strict=True):
        np.testing.assert_array_equal(one > 0, two.numpy() > 0)
        np.testing.assert_allclose(one, two.numpy(), rtol=1e-6)
    for n in range(4):
        rows = slice(n, n + 1)
        alone = resample(flux[rows], ivar[rows], axis=wave[rows], to=to, factor_N=factor[rows])
        np.testing.assert_array_equal(alone[0], both[0][rows])
        np.testing.assert_array_equal(alone[1], both[1][rows])


def test_what_lies_under_a_missing_pixel_is_never_seen() -> None:
    flux, ivar = np.full((1, 300), 7, np.float32), np.ones((1, 300), np.float32)
    ivar[0, 100:103] = 0
    flux[0, 100:103] = np.nan
    own, factor = Grid(start=5000.0, step=1.0, pixels=300), np.array([1.0001])
    for step in (0.9, 3.0):
        to = Grid(start=5010.0, step=step, pixels=60)
        found_flux, found_ivar = resample(flux, ivar, axis=own, to=to, factor_N=factor)
        np.testing.assert_allclose(found_flux[found_ivar > 0], 7, rtol=1e-6)
        assert not found_flux[found_ivar == 0].any()


def test_a_level_that_crosses_zero_is_the_same_in_torch() -> None:
    grid = Grid(start=4000.0, step=0.8, pixels=3001)
    generator = np.random.default_rng(2)
    flux = generator.normal(np.linspace(-1, 1, 3001), 0.3, (40, 3001)).astype(np.float32)
    ivar = np.full(flux.shape, 11, np.float32)
    one = normalise(flux, ivar, make_smoother(grid))
    other = normalise(torch.from_numpy(flux), torch.from_numpy(ivar), make_smoother(grid, CPU))
    for expected, found in zip(one, other, strict=True):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize("go", ["air", "vacuum"])
def test_media_are_the_same_in_torch(go: Medium) -> None:
    wave, come = np.linspace(3000, 17000, 1000), "vacuum" if go == "air" else "air"
    np.testing.assert_allclose(
        convert(torch.from_numpy(wave), come, go).numpy(), convert(wave, come, go), rtol=1e-15
    )


rows = st.tuples(st.integers(1, 5), st.integers(1, 12)).flatmap(
    lambda shape: st.tuples(
        arrays(np.float32, shape, elements=st.floats(-9, 9, width=32)), arrays(bool, shape)
    )
)


@given(rows)
def test_the_median_is_numpys(values_and_good: tuple[np.ndarray, np.ndarray]) -> None:
    values, good = values_and_good
    expected = [np.median(x[known]) if known.any() else 0 for x, known in zip(values, good, strict=True)]
    np.testing.assert_array_equal(median(values, good), np.array(expected, np.float32))
    np.testing.assert_array_equal(
        median(torch.tensor(values), torch.tensor(good)).numpy(), median(values, good)
    )


def test_searching_and_taking_are_by_row() -> None:
    generator = np.random.default_rng(0)
    ascending, wanted = np.sort(generator.random((3, 20)), axis=1), generator.random((3, 30))
    ascending[1, 15:] = np.inf
    expected = (ascending[:, None, :] <= wanted[:, :, None]).sum(axis=2)
    np.testing.assert_array_equal(search_rows(ascending, wanted), expected)
    found = search_rows(torch.from_numpy(ascending), torch.from_numpy(wanted))
    np.testing.assert_array_equal(found.numpy(), expected)
    places = generator.integers(0, 20, (3, 7))
    np.testing.assert_array_equal(
        take(ascending, flat_places(places, 20)), np.take_along_axis(ascending, places, axis=1)
    )


def test_columns_come_as_float64_with_nan_for_null() -> None:
    table = pa.table({"rv": pa.array([1.5, None], pa.float32())})
    for found in (column(table, "rv"), column(table, "rv", CPU).numpy()):
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, [1.5, np.nan])
