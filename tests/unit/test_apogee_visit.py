"""apVisit: three chips as observed, and the velocity that takes them to rest."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.prepare.frame import LIGHT_KMS
from engine.prepare.gather import gather
from engine.surveys.apogee import APOGEE_VISIT
from engine.surveys.apogee.layout import GRID
from tests.unit.apogee_files import GAIA, STAR, array, chips, read_all, write_visit

NAME = "apVisit-r8-4914-55807-100.fits"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path / "cache"))


def test_wavelengths_ascend_and_pixels_follow_them(tmp_path: Path) -> None:
    flux = np.arange(3 * 4096, dtype=np.float32).reshape(3, 4096) + 1
    mask = np.zeros((3, 4096), np.int16)
    mask[1, 0] = 1
    write_visit(tmp_path / NAME, arrays={1: flux, 2: flux, 3: mask})
    table = read_all(APOGEE_VISIT, tmp_path)
    for row, arm in enumerate("abc"):
        assert np.array_equal(array(table, f"wave_{arm}")[0], chips()[row, ::-1])
        assert np.array_equal(array(table, f"flux_{arm}")[0], flux[row, ::-1])
        assert np.allclose(array(table, f"ivar_{arm}")[0], flux[row, ::-1] ** -2.0)
    assert np.flatnonzero(array(table, "mask_b")[0]).tolist() == [4095]


def test_keys_and_facts(tmp_path: Path) -> None:
    write_visit(tmp_path / NAME)
    row = read_all(APOGEE_VISIT, tmp_path).to_pylist()[0]
    keys = {key.name: row[key.name] for key in APOGEE_VISIT.keys}
    assert keys == {
        "apogee_id": STAR,
        "sdss_id": None,
        "telescope": "apo25m",
        "plate": "4914",
        "mjd": 55807,
        "fiber": 100,
    }
    assert (row["rv"], row["instrument_status"], row["ra"]) == (30.0, 0, 299.7)
    assert row["rv_err"] == pytest.approx(1.6)


@pytest.mark.parametrize(
    "gone", [{"BC": None}, {"VHELIO": None}, {"VHELIO": "NaN"}, {"VHELIO": 999999.0}, {"BC": True}]
)
def test_without_both_velocities_there_is_none(tmp_path: Path, gone: dict[str, Any]) -> None:
    write_visit(tmp_path / NAME, header=gone)
    row = read_all(APOGEE_VISIT, tmp_path).to_pylist()[0]
    assert row["rv"] is row["rv_err"] is row["rv_source"] is None


def test_a_line_comes_to_rest(tmp_path: Path) -> None:
    """VHELIO - BC is 30 km/s: a line of 16000 Angstrom was seen 1.6 Angstrom further to the red."""
    wave = chips()
    line = 16000 * (1 + 30 / LIGHT_KMS)
    flux = (100 - 50 * np.exp(-0.5 * ((wave - line) / 0.4) ** 2)).astype(np.float32)
    write_visit(tmp_path / NAME, arrays={1: flux})
    table = read_all(APOGEE_VISIT, tmp_path)
    found = gather(table, APOGEE_VISIT.spectrograph, GRID, "vacuum")
    assert GRID.wave_P[np.where(found.ivar_NP[0] > 0, found.flux_NP[0], 1e9).argmin()] == pytest.approx(
        16000, abs=0.15
    )


def test_exposures_without_dither_have_half_the_pixels(tmp_path: Path) -> None:
    write_visit(tmp_path / NAME, pixels=2048)
    table = read_all(APOGEE_VISIT, tmp_path)
    wave = array(table, "wave_a")[0]
    assert np.array_equal(wave[:2048], chips(2048)[0, ::-1])
    assert np.isnan(wave[2048:]).all()
    assert not array(table, "ivar_a")[0, 2048:].any()
    found = gather(table, APOGEE_VISIT.spectrograph, GRID, "vacuum")
    assert (found.ivar_NP > 0).mean() > 0.8


def test_sdss_v_knows_gaia(tmp_path: Path) -> None:
    name = "apVisit-1.3-apo25m-6340-59804-145.fits"
    head = {"GRELEASE": "dr3", "GGMAG": 13.4712, "GBPMAG": -9999.99, "GRPMAG": 12.4309, "GPLX": 2.07651}
    summary = {"APOGEE_ID": STAR, "SDSS_ID": np.int64(42), "GAIA_SOURCEID": np.int64(GAIA)}
    write_visit(tmp_path / name, header=head | {"VHELIO": None, "BC": None}, summary=summary)
    row = read_all(APOGEE_VISIT, tmp_path).to_pylist()[0]
    assert (row["gaia_source_id"], row["sdss_id"], row["rv"]) == (GAIA, 42, None)
    assert (row["phot_g_mean_mag"], row["phot_bp_mean_mag"]) == (pytest.approx(13.4712), None)


def test_an_id_of_gaia_dr2_is_not_taken(tmp_path: Path) -> None:
    summary = {"GAIA_SOURCEID": np.int64(GAIA)}
    write_visit(tmp_path / NAME, header={"GRELEASE": "dr2"}, summary=summary)
    assert read_all(APOGEE_VISIT, tmp_path)["gaia_source_id"].to_pylist() == [None]


def test_a_broken_file_among_others_keeps_what_its_name_says(tmp_path: Path) -> None:
    write_visit(tmp_path / NAME)
    (tmp_path / "apo1m").mkdir()
    (tmp_path / "apo1m" / "apVisit-dr17-5940-56780-001.fits").write_bytes(b"")
    _, row = read_all(APOGEE_VISIT, tmp_path).to_pylist()
    assert (row["telescope"], row["plate"], row["mjd"], row["fiber"]) == ("apo1m", "5940", 56780, 1)
    assert "not a FITS file" in row["read_problem"]
