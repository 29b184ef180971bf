"""Real DESI files: the rows, ids, pixels and masks that astropy sees."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from engine.surveys.desi import DESI
from engine.surveys.desi.layout import IMAGES
from engine.types import Task
from tests.unit.desi_files import array, survey_spec, tasks_of

pytestmark = pytest.mark.realdata

ROWS = {
    "coadd-4-80613-thru20210324.fits": 1,
    "coadd-5-169-thru20210419.fits": 5,
    "spectra-5-169-thru20210419.fits": 5,
}
STUCK = [-1695072, 39633297352951412, -1695064, -1695073, 39633300968442591]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path))


@pytest.fixture
def root(realdata: Path) -> Path:
    return realdata / "desi"


def task_of(root: Path, name: str) -> Task:
    return next(task for task in tasks_of(survey_spec(root)) if task.shard.path == name)


def test_all_spectra_files_are_listed_and_sound(root: Path) -> None:
    shards = list(DESI.list_shards(survey_spec(root)))
    assert {shard.path: shard.rows for shard in shards} == ROWS
    assert [shard.problem for shard in shards] == [None] * 3


@pytest.mark.parametrize("name", ROWS)
def test_pixels_masks_and_ids_equal_astropy(root: Path, name: str) -> None:
    table = DESI.read(survey_spec(root), task_of(root, name))
    with fits.open(root / name) as theirs:
        assert table["targetid"].to_pylist() == theirs["FIBERMAP"].data["TARGETID"].tolist()
        assert table["ra"].to_pylist() == theirs["FIBERMAP"].data["TARGET_RA"].tolist()
        for column, (hdu, _) in IMAGES.items():
            assert np.array_equal(array(table, column), theirs[hdu].data), column


def test_keys(root: Path) -> None:
    sv1 = DESI.read(survey_spec(root), task_of(root, "coadd-4-80613-thru20210324.fits"))
    assert sv1.select(["survey", "program", "healpix", "tileid", "expid"]).to_pylist() == [
        {"survey": "sv1", "program": None, "healpix": None, "tileid": 80613, "expid": None}
    ]
    single = DESI.read(survey_spec(root), task_of(root, "spectra-5-169-thru20210419.fits"))
    assert set(single["survey"].to_pylist()) == {"sv3"}
    assert set(single["tileid"].to_pylist()) == {169}
    assert set(single["expid"].to_pylist()) == {85502}


def test_dead_fibres_and_stuck_ones(root: Path) -> None:
    coadd = DESI.read(survey_spec(root), task_of(root, "coadd-5-169-thru20210419.fits"))
    single = DESI.read(survey_spec(root), task_of(root, "spectra-5-169-thru20210419.fits"))
    for table in (coadd, single):
        assert table["targetid"].to_pylist() == STUCK
        assert table["instrument_status"].to_pylist() == [513, 512, 515, 1, 0]
        assert table["object_type"].to_pylist() == ["", "TGT", "", "", "TGT"]
        assert not array(table, "ivar_b")[:4].any()
        assert table["gaia_source_id"].null_count == table["phot_g_mean_mag"].null_count == 5
    assert not array(coadd, "flux_b")[:4].any()
    assert not array(coadd, "mask_b")[:4].any()
    assert array(single, "flux_b")[:4].all()
    assert array(single, "mask_b")[:4].all()


def test_redrock_knows_the_galaxy(root: Path) -> None:
    spec = survey_spec(root, rv={"from": "redrock"})
    table = DESI.read(spec, task_of(root, "coadd-4-80613-thru20210324.fits"))
    assert table["spectype"].to_pylist() == ["GALAXY"]
    assert table["rv"].to_pylist() == [None]


@pytest.mark.parametrize("name", ROWS)
def test_selection(root: Path, name: str) -> None:
    table = DESI.read(survey_spec(root, select={"by": "targets"}), task_of(root, name))
    with fits.open(root / name) as theirs:
        assert not any(
            "MWS" in key and theirs["FIBERMAP"].data[key].any() for key in theirs["FIBERMAP"].columns.names
        )
    assert len(table) == 0
