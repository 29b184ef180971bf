"""apStar, asStar and aspcapStar: which rows, which pixels, which ids."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.surveys.apogee import APOGEE
from engine.surveys.apogee.names import star_of
from engine.types import Grid, Task
from tests.unit.apogee_files import (
    GAIA,
    GAP,
    PIXELS,
    STAR,
    array,
    read_all,
    spectra,
    survey_spec,
    write_aspcap,
    write_star,
)

NAME = f"apStar-r6-{STAR}.fits"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path / "cache"))


def test_grid_is_that_of_the_data_model() -> None:
    grid = APOGEE.arms[0].grid
    assert isinstance(grid, Grid)
    assert (round(grid.low, 2), round(grid.high, 2)) == (15100.80, 16999.81)
    assert (APOGEE.frame, APOGEE.medium) == ("rest", "vacuum")


def test_coadd_is_the_first_row(tmp_path: Path) -> None:
    write_star(tmp_path / NAME)
    table = read_all(APOGEE, tmp_path)
    assert np.array_equal(array(table, "flux_apogee"), spectra(5)[0][:1])
    row = table.to_pylist()[0]
    keys = {key: row[key] for key in ("apogee_id", "sdss_id", "telescope", "field", "visit")}
    assert keys == {
        "apogee_id": STAR,
        "sdss_id": None,
        "telescope": "apo25m",
        "field": "120-45",
        "visit": None,
    }
    assert (row["ra"], row["dec"], row["position_source"]) == (11.339304, 16.579082, "survey")
    assert (row["rv"], row["rv_source"]) == (6.5, "survey")
    assert row["gaia_source_id"] is row["phot_g_mean_mag"] is row["read_problem"] is None


def test_visits_follow_two_coadds(tmp_path: Path) -> None:
    write_star(tmp_path / NAME)
    table = read_all(APOGEE, tmp_path, spectra="visits")
    assert np.array_equal(array(table, "flux_apogee"), spectra(5)[0][2:])
    assert table["visit"].to_pylist() == ["6561-56587-131", "6561-56588-132", "6561-56589-133"]
    assert table["rv"].to_pylist() == [7.0, 8.0, 9.0]
    assert table["apogee_id"].to_pylist() == [STAR] * 3


@pytest.mark.parametrize("kind", ["coadds", "visits"])
@pytest.mark.parametrize("visits", [0, 1], ids=["vector", "one row"])
def test_single_visit_is_coadd_and_visit(tmp_path: Path, visits: int, kind: str) -> None:
    write_star(tmp_path / NAME, visits=visits)
    table = read_all(APOGEE, tmp_path, spectra=kind)
    assert np.array_equal(array(table, "flux_apogee"), spectra(1)[0])
    assert table["visit"].to_pylist() == [None if kind == "coadds" else "6561-56587-131"]


def test_some_visits_of_a_star(tmp_path: Path) -> None:
    write_star(tmp_path / NAME, visits=4)
    spec = survey_spec(APOGEE, tmp_path, spectra="visits")
    (shard,) = APOGEE.list_shards(spec)
    table = APOGEE.read(spec, Task(task_id="t", shard=shard, start=1, stop=3))
    assert np.array_equal(array(table, "flux_apogee"), spectra(6)[0][3:5])
    assert table["row_in_shard"].to_pylist() == [1, 2]


def test_gaps_are_missing_and_only_bad_bits_mask(tmp_path: Path) -> None:
    flux, error, mask = spectra(5)
    error[0, GAP.start] = 1.8  # seen in real files: gaps with small errors
    error[0, :4] = [0.0, -1.0, np.nan, np.inf]
    mask[0, 10:26] = [1 << bit for bit in range(15)] + [-(1 << 15)]
    write_star(tmp_path / NAME, arrays=(flux, error, mask))
    table = read_all(APOGEE, tmp_path)
    ivar, bits = array(table, "ivar_apogee")[0], array(table, "mask_apogee")[0]
    assert not ivar[GAP].any()
    assert not ivar[:4].any()
    assert np.all(ivar[4:3306] == np.float32(0.25))
    assert [bit for bit in range(16) if bits[10 + bit]] == [0, 1, 2, 3, 4, 5, 6, 7, 12]


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.uint64, np.int32])
def test_wide_and_unsigned_images_of_later_releases(tmp_path: Path, kind: Any) -> None:
    flux, error, mask = spectra(5)
    mask[0, 10:12] = [1 << 3, 1 << 9]
    write_star(tmp_path / NAME, arrays=(flux.astype(np.float64), error.astype(np.float64), mask.astype(kind)))
    table = read_all(APOGEE, tmp_path)
    assert np.array_equal(array(table, "flux_apogee")[0], flux[0])
    assert array(table, "mask_apogee")[0, 9:13].tolist() == [0, 8, 0, 0]


@pytest.mark.parametrize(
    ("flag", "status"),
    [(0, 0), (1, 1), (1 << 1, 0), (1 << 3, 8), (1 << 4, 16), (1 << 9, 0), (1 << 17, 0), (1 << 22, 1 << 22)],
)
def test_status_holds_what_spoils_a_spectrum(tmp_path: Path, flag: int, status: int) -> None:
    write_star(tmp_path / NAME, header={"STARFLAG": flag, "FLAG2": flag})
    assert read_all(APOGEE, tmp_path)["instrument_status"].to_pylist() == [status]
    assert read_all(APOGEE, tmp_path, spectra="visits")["instrument_status"].to_pylist() == [0, status, 0]


def test_sdss_v_header_knows_less(tmp_path: Path) -> None:
    gone = dict.fromkeys(("TELESCOP", "FIELD", "VHELIO", "VHELIO1", "VHELIO2", "VHELIO3", "STARFLAG"))
    name = f"stars/lco25m/10/10105/apStar-1.0-lco25m-{STAR}-59380.fits"
    write_star(tmp_path / name, header={**gone, "VRAD": 15.5, "VERR": 0.0, "RA": -9999.99})
    row = read_all(APOGEE, tmp_path).to_pylist()[0]
    assert (row["telescope"], row["field"], row["rv"], row["rv_err"]) == ("lco25m", None, 15.5, None)
    assert row["ra"] is row["dec"] is row["instrument_status"] is None
    assert read_all(APOGEE, tmp_path, spectra="visits")["rv"].to_pylist() == [21.0, 22.0, 23.0]


def test_aspcap_spectrum_and_its_ids(tmp_path: Path) -> None:
    write_aspcap(tmp_path / f"aspcapStar-dr17-{STAR}.fits")
    table = read_all(APOGEE, tmp_path)
    row = table.to_pylist()[0]
    assert (row["apogee_id"], row["telescope"], row["field"], row["gaia_source_id"]) == (
        STAR,
        "lco25m",
        "K01",
        GAIA,
    )
    assert (row["phot_g_mean_mag"], row["parallax"], row["rv"], row["instrument_status"]) == (
        12.5,
        1.5,
        -7.25,
        8,
    )
    assert row["phot_bp_mean_mag"] is None
    assert not array(table, "mask_apogee").any()
    assert not array(table, "ivar_apogee")[0, GAP].any()
    assert np.array_equal(array(table, "flux_apogee"), spectra(1)[0] / 100)


def test_aspcap_has_no_visits(tmp_path: Path) -> None:
    write_aspcap(tmp_path / f"aspcapStar-dr17-{STAR}.fits")
    (shard,) = APOGEE.list_shards(survey_spec(APOGEE, tmp_path, spectra="visits"))
    assert 'aspcapStar holds no visits; use survey.spectra = "coadds"' in (shard.problem or "")


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        (f"apo25m/120-45/apStar-dr17-{STAR}.fits", (STAR, "apo25m", "120-45")),
        (f"apo25m/4495/apStar-r5-{STAR}.fits", (STAR, "apo25m", None)),
        (f"asStar-dr17-{STAR}.fits", (STAR, "lco25m", None)),
        (f"lco25m/10/10105/apStar-1.2-lco25m-{STAR}-59380.fits", (STAR, "lco25m", None)),
        ("apo1m/standards/apStar-r8-VESTA.fits", ("VESTA", "apo1m", "standards")),
        ("aspcapStar-r8-l31c.2-2M12345678-1234567.fits", ("2M12345678-1234567", None, None)),
    ],
)
def test_paths(path: str, keys: tuple[str | None, ...]) -> None:
    assert tuple(star_of(path).values()) == keys


def test_a_broken_file_among_others_keeps_its_ids(tmp_path: Path) -> None:
    broken = tmp_path / "apo25m" / "K01" / "apStar-dr17-2M12345678-1234567.fits"
    write_star(broken)
    broken.write_bytes(broken.read_bytes()[:20000])
    write_star(tmp_path / NAME)
    table = read_all(APOGEE, tmp_path)
    assert table["apogee_id"].to_pylist() == [STAR, "2M12345678-1234567"]
    assert table["field"].to_pylist() == ["120-45", "K01"]
    none, problem = table["read_problem"].to_pylist()
    assert "truncated" in problem
    assert none is None
    assert array(table, "mask_apogee")[1].all()
    assert array(table, "flux_apogee").shape == (2, PIXELS)
