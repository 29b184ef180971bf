"""RAVE: what its files give, and what is refused."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import PlanError, ShardCorrupt, ShardError
from engine.models.mlp import RAVE_GRID
from engine.prepare.normalised import over_continuum
from engine.surveys.rave import RAVE
from engine.types import Input
from tests.unit.wcs_files import (
    array,
    damage,
    degraded,
    image_hdu,
    linear,
    pixels_of,
    rows_of,
    spec_of,
    write_hdus,
)

NAME = "20031109/RAVE_20031109_0823m14_113.fits"
GRID = linear(8410.5, 0.38)
TRIPLET = (8498.02, 8542.09, 8662.14)


def write(root: Path, name: str = NAME, roi: str | None = "20031109_0823m14_113", **parts: Any) -> Path:
    flux = parts.get("flux", np.linspace(0.5, 1.5, 1000))
    hdus = {
        "SPECTRUM": image_hdu(flux, "SPECTRUM", **(GRID | parts.get("header", {}))),
        "ERROR": image_hdu(parts.get("error", np.full(len(flux), 0.02)), "ERROR"),
    }
    primary = {} if roi is None else {"ROI": roi}
    return write_hdus(root / name, primary, *(h for n, h in hdus.items() if n != parts.get("without")))


def test_a_file_is_a_row(tmp_path: Path) -> None:
    flux = np.linspace(0.5, 1.5, 1000)
    flux[3:5] = np.nan, -0.2
    write(tmp_path, flux=flux)
    found = rows_of(RAVE, tmp_path)
    assert found["rave_obs_id"].to_pylist() == ["20031109_0823m14_113"]
    np.testing.assert_allclose(array(found, "wave_cat")[0, :1000], 8410.5 + 0.38 * np.arange(1000))
    np.testing.assert_array_equal(array(found, "flux_cat")[0, :1000], flux.astype(np.float32))
    ivar = array(found, "ivar_cat")[0]
    # ERROR is relative: 2 % of the flux, whatever its sign.
    np.testing.assert_allclose(ivar[5:1000], (0.02 * flux[5:]) ** -2.0, rtol=1e-5)
    assert ivar[3] == 0
    assert ivar[4] == pytest.approx((0.02 * 0.2) ** -2)
    assert found["ra"].null_count == found["gaia_source_id"].null_count == found["rv"].null_count == 1


def test_the_name_stands_in_for_roi_and_gzip_is_read(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", roi=None)
    packed = tmp_path / "packed" / f"{plain.name}.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    both = [rows_of(RAVE, folder) for folder in (tmp_path / "plain", tmp_path / "packed")]
    assert both[0]["rave_obs_id"].to_pylist() == ["20031109_0823m14_113"]
    np.testing.assert_array_equal(array(both[0], "flux_cat"), array(both[1], "flux_cat"))
    packed.write_bytes(packed.read_bytes()[:-3000])
    with pytest.raises(ShardCorrupt, match="gzip"):
        rows_of(RAVE, packed.parent)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"without": "ERROR"}, "ERROR: missing"),
        ({"without": "SPECTRUM"}, "SPECTRUM: missing"),
        ({"error": np.ones(999)}, "999 pixels, expected the 1000"),
        ({"flux": np.ones((2, 1000)), "error": np.ones(1000)}, "one dimension"),
        ({"flux": np.ones(5000)}, "2 to 2048"),
        ({"flux": np.ones(1)}, "one dimension"),
        ({"header": {"CUNIT1": "nm"}}, "84105 to .* Angstrom"),
        ({"header": {"CRVAL1": 5000.0}}, "most of 8410 to 8795"),
        ({"header": {"CDELT1": 0.0}}, "monotonic"),
        ({"header": {"CDELT1": "wide"}}, "'wide'"),
    ],
)
def test_a_wrong_file_is_corrupt_and_says_why(tmp_path: Path, wrong: dict[str, Any], complaint: str) -> None:
    path = write(tmp_path, **wrong)
    with pytest.raises(ShardCorrupt, match=f"{path.name}.*{complaint}"):
        rows_of(RAVE, tmp_path)


@pytest.mark.parametrize("content", [b"", b"not FITS at all", b"SIMPLE  =" + b" " * 71])
def test_what_is_no_fits_file_is_corrupt(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "RAVE_x.fits").write_bytes(content)
    with pytest.raises(ShardCorrupt):
        rows_of(RAVE, tmp_path)


def test_one_broken_file_of_two_keeps_its_id(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path, "RAVE_20031109_0823m14_114.fits", without="ERROR")
    found = rows_of(RAVE, tmp_path).to_pylist()
    broken = {row["rave_obs_id"]: row["read_problem"] for row in found}
    assert broken["20031109_0823m14_113"] is None
    assert "ERROR" in broken["20031109_0823m14_114"]


def test_no_file_is_a_plan_error(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="RAVE_"):
        RAVE.list_shards(spec_of(RAVE, tmp_path))


@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 255)), max_size=8), st.floats(0.1, 1))
@settings(max_examples=40)
def test_damaged_bytes_end_in_a_shard_error_or_in_rows(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, int]], keep: float
) -> None:
    root = tmp_path_factory.mktemp("damaged")
    path = write(root)
    path.write_bytes(damage(path.read_bytes(), cuts, keep))
    try:
        assert len(rows_of(RAVE, root)) == 1
    except ShardError as error:
        assert path.name in str(error)


@pytest.mark.realdata
def test_the_sun_at_the_resolution_of_rave(realdata: Path, tmp_path: Path) -> None:
    flux_P = pixels_of(realdata / "benchmark_stars" / "sick_sun-845-875.fits")
    wave_P = 8450 + 0.01 * np.arange(len(flux_P))
    grid = 8451 + 0.38 * np.arange(780)
    flux = degraded(wave_P, flux_P, 7500, grid)
    write(tmp_path, flux=flux, header={"CRVAL1": 8451.0})
    found = over_continuum(
        rows_of(RAVE, tmp_path), RAVE.spectrograph, Input(grid=RAVE_GRID, frame="rest", medium="air")
    )
    good_P = found.ivar_NP[0] > 0
    wave = RAVE_GRID.wave_P
    assert not good_P[(wave < 8450) | (wave > 8748)].any()
    for line in TRIPLET:
        near = good_P & (np.abs(wave - line) < 4)
        assert wave[near][found.flux_NP[0][near].argmin()] == pytest.approx(line, abs=0.41)
        assert found.flux_NP[0][near].min() < 0.75
