"""Real APOGEE files: what astropy sees, and what the physics says of them."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from engine.prepare.frame import LIGHT_KMS
from engine.surveys.apogee import APOGEE, APOGEE_VISIT
from engine.surveys.apogee.layout import PIXEL_BITS
from tests.unit.apogee_files import array, read_all

pytestmark = pytest.mark.realdata

# Vacuum wavelengths of bright OH lines of the night sky, Angstrom (Rousselot et al. 2000, A&A 354, 1134).
OH = (15240.954, 15287.789, 15332.402, 15395.334, 15597.629, 15631.443, 15702.539, 16030.831, 16079.753)
OH += (16128.608, 16194.615, 16317.161, 16350.650, 16388.492, 16502.365, 16692.380, 16840.481, 16903.679)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path))


@pytest.fixture
def root(realdata: Path) -> Path:
    return realdata / "apogee"


@pytest.fixture
def files(root: Path) -> list[Path]:
    return sorted(root.glob("apStar-*.fits"))


def test_coadds_equal_astropy(root: Path, files: list[Path]) -> None:
    table = read_all(APOGEE, root)
    assert len(table) == len(files) == 8
    for row, path in enumerate(files):
        with fits.open(path) as theirs:
            error = theirs[2].data[0].astype(np.float64)
            assert table["apogee_id"][row].as_py() == theirs[0].header["OBJID"]
            assert table["ra"][row].as_py() == theirs[0].header["RA"]
            assert table["rv"][row].as_py() == pytest.approx(theirs[0].header["VHELIO"])
            assert np.array_equal(array(table, "flux_apogee")[row], theirs[1].data[0])
            assert np.array_equal(array(table, "mask_apogee")[row], theirs[3].data[0] & PIXEL_BITS)
            ivar = np.where(error < 1e9, error**-2, 0).astype(np.float32)
            assert np.array_equal(array(table, "ivar_apogee")[row], ivar)


def test_visits_equal_astropy(root: Path, files: list[Path]) -> None:
    table = read_all(APOGEE, root, spectra="visits")
    theirs = [fits.getdata(path, 1)[2:] for path in files]
    assert [len(flux) for flux in theirs] == [3, 4, 3, 3, 3, 3, 3, 2]
    assert np.array_equal(array(table, "flux_apogee"), np.concatenate(theirs))
    keys = list(zip(table["apogee_id"].to_pylist(), table["visit"].to_pylist(), strict=True))
    assert len(set(keys)) == 24
    assert keys[0] == ("2M00452143+1634446", "6561-56587-131")


def test_most_pixels_survive_the_mask(root: Path) -> None:
    """Masking on any bit would leave 22 to 74 % of these coadds."""
    table = read_all(APOGEE, root)
    good = ((array(table, "ivar_apogee") > 0) & (array(table, "mask_apogee") == 0)).mean(axis=1)
    assert good.round(3).tolist() == [0.807, 0.765, 0.799, 0.756, 0.792, 0.777, 0.635, 0.845]
    assert np.all(array(table, "flux_apogee")[array(table, "ivar_apogee") > 0] != 0)


def test_the_visit_is_in_vacuum_and_topocentric(root: Path) -> None:
    """The lines of the night sky lie where they lie in a laboratory; BC is -12.4 km/s, air would be +82."""
    table = read_all(APOGEE_VISIT, root)
    with fits.open(next(root.glob("apVisit-*.fits"))) as theirs:
        sky = theirs[5].data[:, ::-1]
        expected_rv = theirs[0].header["VRAD"]
    velocities = []
    for row, arm in enumerate("abc"):
        wave = array(table, f"wave_{arm}")[0]
        inside = [line for line in OH if wave[8] < line < wave[-8]]
        velocities += [(_centroid(wave, sky[row], line) / line - 1) * LIGHT_KMS for line in inside]
    assert len(velocities) == len(OH)
    assert abs(np.median(velocities)) < 1
    assert table["rv"][0].as_py() == pytest.approx(expected_rv, abs=1e-4)


def _centroid(wave: np.ndarray, sky: np.ndarray, line: float) -> float:
    peak = np.where(np.abs(wave - line) < 2, sky, -np.inf).argmax()
    near = slice(peak - 4, peak + 5)
    height = np.clip(sky[near] - np.median(sky[np.abs(wave - line) < 8]), 0, None)
    return float((wave[near] * height).sum() / height.sum())


def test_the_visit_is_whole(root: Path) -> None:
    table = read_all(APOGEE_VISIT, root)
    good = [((array(table, f"ivar_{arm}") > 0) & (array(table, f"mask_{arm}") == 0)).mean() for arm in "abc"]
    assert [round(float(share), 3) for share in good] == [0.986, 0.984, 0.99]
    assert table.select(["apogee_id", "plate", "mjd", "fiber"]).to_pylist() == [
        {"apogee_id": "2M19584983+2031300", "plate": "4914", "mjd": 55807, "fiber": 100}
    ]
