"""Real Gaia files: what pandas and astropy see in them, in every serialisation."""

from ast import literal_eval
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.io import fits

from engine.surveys.assemble import assemble
from engine.surveys.gaia import GAIA_RVS, GAIA_XP, GAIA_XP_SAMPLED
from engine.surveys.gaia.library import calibrate
from engine.surveys.store import Folder
from engine.surveys.survey import Survey
from tests.unit.gaia_files import array, read_all, spec_of

pytestmark = pytest.mark.realdata

PROXIMA, SECOND = 5853498713190525696, 5762406957886626816


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path))


@pytest.fixture
def rvs(realdata: Path) -> Path:
    return realdata / "gaia_rvs"


@pytest.fixture
def xp(realdata: Path) -> Path:
    return realdata / "gaia_xp"


def read_file(survey: Survey, path: Path, rows: int) -> pa.Table:
    files = survey.read.args[2]  # type: ignore[attr-defined]
    spec, store = spec_of(survey, path.parent), Folder(path.parent)
    assert files.count(spec, store, path.name) == rows
    return assemble(survey.columns, files.read(spec, store, path.name, 0, rows), rows)


def test_all_files_are_read_and_sound(rvs: Path, xp: Path) -> None:
    for survey, root, rows in ((GAIA_RVS, rvs, 3), (GAIA_XP, xp, 8), (GAIA_XP_SAMPLED, xp, 14)):
        table = read_all(survey, root)
        assert table.num_rows == rows
        assert table["read_problem"].null_count == rows


def test_rvs_is_what_pandas_sees(rvs: Path) -> None:
    for path in sorted(rvs.glob("*.csv")):
        theirs, table = pd.read_csv(path), read_file(GAIA_RVS, path, 1)
        assert table["source_id"].to_pylist() == [theirs["source_id"][0]]
        assert table["ra"].to_pylist() == [theirs["ra"][0]]
        flux = theirs["flux"].to_numpy(np.float32)
        assert np.array_equal(array(table, "flux_rvs")[0], flux, equal_nan=True)
        assert np.array_equal(array(table, "mask_rvs")[0], np.isnan(flux))
        ivar = theirs["flux_error"].to_numpy() ** -2
        assert np.allclose(array(table, "ivar_rvs")[0], np.nan_to_num(ivar), rtol=1e-6)


def test_rvs_masks_and_signal(rvs: Path) -> None:
    masked, snr = {}, {}
    for path in sorted(rvs.glob("*.csv")):
        table = read_file(GAIA_RVS, path, 1)
        flux, ivar, mask = (array(table, f"{kind}_rvs")[0] for kind in ("flux", "ivar", "mask"))
        masked[path.stem] = int(mask.sum())
        snr[path.stem] = float(np.median((flux * np.sqrt(ivar))[mask == 0]))
    assert masked == {"GaiaDR3-1535964555128078720": 3, "HD176650": 0, "Kepler-93": 7}
    assert all(80 < value < 500 for value in snr.values())


@pytest.mark.parametrize("form", ["csv", "ecsv", "fits", "xml"])
def test_xp_coefficients_are_the_same_in_every_form(xp: Path, form: str) -> None:
    table = read_file(GAIA_XP, xp / f"XP_CONTINUOUS_RAW.{form}", 2)
    assert table["source_id"].to_pylist() == [PROXIMA, SECOND]
    with fits.open(xp / "XP_CONTINUOUS_RAW.fits") as theirs:
        for band in ("bp", "rp"):
            flux = np.stack(list(theirs[1].data[f"{band}_coefficients"]))
            error = np.stack(list(theirs[1].data[f"{band}_coefficient_errors"])).astype(np.float64)
            assert np.array_equal(array(table, f"flux_{band}"), flux.astype(np.float32))
            assert np.allclose(array(table, f"ivar_{band}"), error**-2, rtol=1e-6)
            assert not array(table, f"mask_{band}").any()


@pytest.mark.parametrize("form", ["csv", "ecsv", "fits"])
def test_sampled_xp_is_the_same_in_every_form(xp: Path, form: str) -> None:
    table = read_file(GAIA_XP_SAMPLED, xp / f"XP_SAMPLED_RAW_dr3int6.{form}", 2)
    theirs = pd.read_csv(xp / "XP_SAMPLED_RAW_dr3int6.csv")
    assert table["source_id"].to_pylist() == theirs["source_id"].to_list()
    assert table["dec"].to_pylist() == theirs["dec"].to_list()
    flux = np.stack([np.array(literal_eval(text)) for text in theirs["flux"]])
    assert np.allclose(array(table, "flux_xp"), flux / 1e-18, rtol=1e-6)
    assert not array(table, "mask_xp").any()


@pytest.mark.parametrize("form", ["csv", "ecsv", "fits", "xml"])
def test_sampling_is_that_of_gaiaxpy_and_of_the_archive(xp: Path, form: str) -> None:
    table = read_file(GAIA_XP_SAMPLED, xp / f"XP_CONTINUOUS_RAW.{form}", 2)
    theirs, _ = calibrate(xp / f"XP_CONTINUOUS_RAW.{form}", save_file=False)
    assert np.array_equal(array(table, "flux_xp"), (np.stack(theirs["flux"]) / 1e-18).astype(np.float32))
    error = np.stack(theirs["flux_error"]) / 1e-18
    assert np.allclose(array(table, "ivar_xp"), error**-2, rtol=1e-5)
    archive = read_file(GAIA_XP_SAMPLED, xp / "XP_SAMPLED_RAW_dr3int6.fits", 2)
    apart = (array(table, "flux_xp") - array(archive, "flux_xp")) * np.sqrt(array(archive, "ivar_xp"))
    # The archive's file is of another reduction of the same two stars, alike to a part in 10,000.
    assert np.abs(apart).max() < 0.01
