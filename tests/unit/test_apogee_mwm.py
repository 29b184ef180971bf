"""mwmStar and mwmVisit of SDSS-V: rows of both observatories, ids beyond 2**53, visits not at rest."""

from pathlib import Path

import numpy as np
import pytest

from engine.surveys.apogee import APOGEE
from engine.types import Task
from tests.unit.apogee_files import (
    GAIA,
    GAP,
    SDSS_ID,
    STAR,
    array,
    mwm_row,
    read_all,
    spectra,
    survey_spec,
    write_mwm,
)

COADDS = "mwmStar-0.8.1-99560000.fits"
VISITS = "mwmVisit-0.8.1-99560000.fits"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path / "cache"))


def test_coadds_of_both_observatories(tmp_path: Path) -> None:
    write_mwm(tmp_path / COADDS, apo=[mwm_row(1)], lco=[mwm_row(2, telescope="lco25m")])
    table = read_all(APOGEE, tmp_path)
    rows = table.to_pylist()
    assert [row["telescope"] for row in rows] == ["apo25m", "lco25m"]
    assert {(row["apogee_id"], row["sdss_id"], row["gaia_source_id"]) for row in rows} == {
        (STAR, SDSS_ID, GAIA)
    }
    assert {(row["visit"], row["rv"], row["rv_err"], row["instrument_status"]) for row in rows} == {
        (None, 12.5, 0.25, 16)
    }
    assert (rows[0]["ra"], rows[0]["phot_g_mean_mag"]) == (113.17667, pytest.approx(13.107358))
    assert rows[0]["phot_rp_mean_mag"] is None
    expected = np.concatenate([spectra(1, seed=1)[0], spectra(1, seed=2)[0]])
    assert np.array_equal(array(table, "flux_apogee"), expected)


def test_gaps_have_an_ivar_of_1e_20_and_flags_are_floats(tmp_path: Path) -> None:
    row = mwm_row(1)
    assert 0 < row["ivar"][GAP].max() < 1e-15
    row["pixel_flags"][:4] = [1 << 1, 1 << 9, np.nan, -5]
    write_mwm(tmp_path / COADDS, apo=[row])
    table = read_all(APOGEE, tmp_path)
    assert not array(table, "ivar_apogee")[0, GAP].any()
    assert array(table, "mask_apogee")[0, :5].tolist() == [2, 0, 1, 1, 0]


def test_a_star_without_apogee_spectra_has_no_rows(tmp_path: Path) -> None:
    write_mwm(tmp_path / COADDS)
    write_mwm(tmp_path / "b" / COADDS, lco=[mwm_row(2, telescope="lco25m")])
    assert read_all(APOGEE, tmp_path)["telescope"].to_pylist() == ["lco25m"]


def test_visits_with_their_keys(tmp_path: Path) -> None:
    write_mwm(tmp_path / VISITS, apo=[mwm_row(1), mwm_row(2)], lco=[mwm_row(3)])
    spec = survey_spec(APOGEE, tmp_path, spectra="visits")
    (shard,) = APOGEE.list_shards(spec)
    table = APOGEE.read(spec, Task(task_id="t", shard=shard, start=1, stop=3))
    assert table["visit"].to_pylist() == ["15303-59280-102", "15303-59280-103"]
    assert table["field"].to_pylist() == ["100001"] * 2
    assert table["rv_err"].to_pylist() == [0.75] * 2
    assert np.array_equal(array(table, "flux_apogee")[0], spectra(1, seed=2)[0][0])


def test_visits_outside_the_stack_are_not_at_rest(tmp_path: Path) -> None:
    write_mwm(tmp_path / VISITS, apo=[mwm_row(1), mwm_row(2, in_stack=False)])
    table = read_all(APOGEE, tmp_path, spectra="visits")
    assert (array(table, "ivar_apogee") > 0).any(axis=1).tolist() == [True, False]
    at_rest, other = table["read_problem"].to_pylist()
    assert at_rest is None
    assert "not shifted to rest" in other


@pytest.mark.parametrize(
    ("name", "kind", "wanted"), [(COADDS, "visits", "mwmVisit"), (VISITS, "coadds", "mwmStar")]
)
def test_the_other_kind_of_file_says_where_to_go(tmp_path: Path, name: str, kind: str, wanted: str) -> None:
    write_mwm(tmp_path / name, apo=[mwm_row(1)])
    (shard,) = APOGEE.list_shards(survey_spec(APOGEE, tmp_path, spectra=kind))
    assert shard.rows == 0
    assert f"no {kind} in this kind of file; they are in {wanted}" in (shard.problem or "")


def test_without_ids_they_are_null(tmp_path: Path) -> None:
    write_mwm(
        tmp_path / COADDS,
        apo=[mwm_row(1, obj=" ")],
        header={"APOGEEID": None, "GAIA3_ID": -1, "PLX": "NaN", "G_MAG": -9999.99},
    )
    row = read_all(APOGEE, tmp_path).to_pylist()[0]
    assert row["apogee_id"] is row["gaia_source_id"] is row["parallax"] is row["phot_g_mean_mag"] is None
    assert row["sdss_id"] == SDSS_ID
