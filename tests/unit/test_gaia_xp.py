"""Gaia XP: coefficients and sampled spectra out of every serialisation; GaiaXPy's own sampling."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from engine.errors import ShardCorrupt
from engine.prepare.normalised import over_first, over_level
from engine.surveys.gaia import GAIA_XP, GAIA_XP_SAMPLED
from engine.surveys.gaia.library import calibrate
from engine.surveys.gaia.sampling import sample
from engine.surveys.gaia.xp_sampled import XP_SAMPLED
from engine.types import Basis, Input
from tests.unit.gaia_files import (
    FORMS,
    IDS,
    array,
    continuous_columns,
    csv_json,
    ecsv,
    long,
    put,
    read_all,
    sampled_columns,
)

WAVE_NM = XP_SAMPLED.grid.wave_P / 10


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("form", FORMS)
def test_every_serialisation_gives_the_same_coefficients(tmp_path: Path, form: str, packed: str) -> None:
    columns = continuous_columns()
    put(tmp_path, form + packed, FORMS[form](columns))
    table = read_all(GAIA_XP, tmp_path)
    assert table["source_id"].to_pylist() == table["gaia_source_id"].to_pylist() == IDS.tolist()
    assert set(table["position_source"].to_pylist()) == {"source_id"}
    for band in ("bp", "rp"):
        flux, error = columns[f"{band}_coefficients"], columns[f"{band}_coefficient_errors"]
        assert np.array_equal(array(table, f"flux_{band}"), flux.astype(np.float32), equal_nan=True)
        ivar = np.where(np.isnan(error), 0, 1 / error**2)
        assert np.array_equal(array(table, f"ivar_{band}"), ivar.astype(np.float32))
    assert array(table, "mask_bp").all(axis=1).tolist() == [False, True, False]
    assert not array(table, "mask_rp").any()


def test_a_source_without_bp_still_has_its_rp(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", csv_json(continuous_columns()))
    wanted = Input(grid=Basis(pixels=110), frame="rest", medium="vacuum")
    seen = over_first(read_all(GAIA_XP, tmp_path), GAIA_XP.spectrograph, wanted)
    assert seen.good_fraction_N.tolist() == [1, 0.5, 1]


@pytest.mark.parametrize("shape", ["arrays", "long"])
@pytest.mark.parametrize("form", FORMS)
def test_every_serialisation_gives_the_same_sampled_spectra(tmp_path: Path, form: str, shape: str) -> None:
    columns = sampled_columns()
    put(tmp_path, form, FORMS[form](columns if shape == "arrays" else long(columns, WAVE_NM)))
    table = read_all(GAIA_XP_SAMPLED, tmp_path)
    assert table["source_id"].to_pylist() == IDS.tolist()
    assert np.array_equal(array(table, "flux_xp"), (columns["flux"] / 1e-18).astype(np.float32))
    ivar = (1 / (columns["flux_error"] / 1e-18) ** 2).astype(np.float32)
    assert np.array_equal(array(table, "ivar_xp"), ivar)
    assert not array(table, "mask_xp").any()


def test_wavelengths_in_the_row(tmp_path: Path) -> None:
    waves = np.tile(WAVE_NM, (3, 1))
    put(tmp_path, "a.csv", csv_json({**sampled_columns(), "wavelength": waves}))
    assert read_all(GAIA_XP_SAMPLED, tmp_path).num_rows == 3
    put(tmp_path, "a.csv", csv_json({**sampled_columns(), "wavelength": waves + 2}))
    with pytest.raises(ShardCorrupt, match="338 to 1022, expected 336 to 1020 nm"):
        read_all(GAIA_XP_SAMPLED, tmp_path)


@pytest.mark.parametrize("flux", [1e-19, 1e-16, 1e-10])
def test_float32_holds_every_brightness_through_prepare(tmp_path: Path, flux: float) -> None:
    columns = {
        **sampled_columns(),
        "flux": np.full((3, 343), flux),
        "flux_error": np.full((3, 343), flux / 100),
    }
    put(tmp_path, "a.csv", csv_json(columns))
    wanted = Input(grid=XP_SAMPLED.grid, frame="rest", medium="vacuum")
    seen = over_level(read_all(GAIA_XP_SAMPLED, tmp_path), GAIA_XP_SAMPLED.spectrograph, wanted)
    assert seen.flux_NP == pytest.approx(1)
    assert seen.ivar_NP == pytest.approx(1e4, rel=1e-4)
    assert seen.snr_N == pytest.approx(100, rel=1e-4)


def test_units_are_checked_where_they_are_said(tmp_path: Path) -> None:
    for unit in ("W.m**-2.nm**-1", "W.nm**-1.m**-2", "W / (m2 nm)"):
        put(tmp_path, "a.ecsv", ecsv(sampled_columns(), {"flux": unit, "flux_error": unit}))
        assert read_all(GAIA_XP_SAMPLED, tmp_path).num_rows == 3
    put(tmp_path, "a.ecsv", ecsv(sampled_columns(), {"flux_error": "erg.s**-1.cm**-2.Angstrom**-1"}))
    with pytest.raises(ShardCorrupt, match=r"flux_error: in 'erg.* expected 'W / \(nm m2\)'"):
        read_all(GAIA_XP_SAMPLED, tmp_path)


def test_ragged_rows_are_refused(tmp_path: Path) -> None:
    text = csv_json(sampled_columns()).decode().splitlines()
    text[2] = text[2].replace("[", "[1e-16,", 1)
    put(tmp_path, "a.csv", "\n".join(text).encode())
    with pytest.raises(ShardCorrupt, match="arrays of 344 numbers, expected 343"):
        read_all(GAIA_XP_SAMPLED, tmp_path)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("rp_coefficients", "column rp_coefficients: missing"), ("source_id", "column source_id: missing")],
)
def test_missing_columns_are_named(tmp_path: Path, missing: str, expected: str) -> None:
    columns = continuous_columns()
    del columns[missing]
    put(tmp_path, "a.csv", csv_json(columns))
    for survey in (GAIA_XP, GAIA_XP_SAMPLED):
        with pytest.raises(ShardCorrupt, match=expected):
            read_all(survey, tmp_path)


def _by_gaiaxpy(columns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    frame = {name: list(column) for name, column in columns.items()}
    for band in ("bp", "rp"):
        frame[f"{band}_n_parameters"] = [
            np.nan if np.isnan(x) else 55 for x in frame[f"{band}_standard_deviation"]
        ]
    theirs, wave_nm = calibrate(pd.DataFrame(frame), save_file=False)
    assert np.array_equal(wave_nm, WAVE_NM)
    return np.stack(theirs["flux"].to_list()), np.stack(theirs["flux_error"].to_list())


def test_sampling_is_that_of_gaiaxpy(tmp_path: Path) -> None:
    columns = continuous_columns()
    flux, error = _by_gaiaxpy(columns)
    for ours, theirs in zip(sample(columns, XP_SAMPLED.grid.wave_P), (flux, error), strict=True):
        assert np.array_equal(ours, theirs, equal_nan=True)
    for number, form in enumerate(FORMS.values()):
        put(tmp_path, f"XP_CONTINUOUS_{number}.csv", form(columns))
    table = read_all(GAIA_XP_SAMPLED, tmp_path)
    assert table["source_id"].to_pylist() == IDS.tolist() * len(FORMS)
    expected = np.tile((flux / 1e-18).astype(np.float32), (len(FORMS), 1))
    assert np.allclose(array(table, "flux_xp"), expected, rtol=1e-6, equal_nan=True)
    # Without BP there is nothing up to 635 nm, where RP begins.
    assert np.flatnonzero(array(table, "mask_xp")[1]).tolist() == list(range(150))


def test_a_source_without_any_band_is_a_row_without_pixels(tmp_path: Path) -> None:
    columns = continuous_columns()
    columns["rp_standard_deviation"][1] = np.nan
    columns["bp_coefficient_correlations"][2, 9] = np.inf
    put(tmp_path, "a.csv", csv_json({k: v for k, v in columns.items() if k != "bp_coefficient_correlations"}))
    with pytest.raises(ShardCorrupt, match="column bp_coefficient_correlations: missing"):
        read_all(GAIA_XP_SAMPLED, tmp_path)
    flux, error = sample(columns, XP_SAMPLED.grid.wave_P)
    assert np.isnan(flux[1]).all()
    assert np.isnan(error[1]).all()
    assert np.isfinite(flux).sum(axis=1).tolist() == [343, 0, 193]


def test_importing_gaiaxpy_leaves_figures_alone() -> None:
    assert not mpl.rcParams["text.usetex"]
