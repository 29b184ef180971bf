"""GALAH: four files make a row; cameras may be missing; the real file."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import PlanError, ShardCorrupt, ShardError
from engine.models.mlp import GALAH_GRID
from engine.prepare.normalised import over_continuum
from engine.surveys.galah import ARMS, GALAH
from engine.surveys.groups import GROUP_OF
from engine.types import Input, Task, Waves
from tests.unit.wcs_files import array, damage, image_hdu, linear, pixels_of, rows_of, spec_of, write_hdus

STAR = 131216002601003
H_ALPHA = 6562.80


def grid_of(ccd: int) -> dict[str, Any]:
    waves = ARMS[ccd - 1].grid
    assert isinstance(waves, Waves)
    return linear(waves.low, (waves.high - waves.low) / 4095, "Angstroms")


def write(root: Path, ccd: int, star: int = STAR, *, rv: float | None = 30.0, **parts: Any) -> Path:
    flux = parts.get("flux", np.full(4096, 100.0 * ccd, np.float32))
    grid = grid_of(ccd)
    shift = 1 if rv is None else 1 - rv / 299792.458
    rest = grid | {key: grid[key] * shift for key in ("CRVAL1", "CDELT1")}
    sigma = image_hdu(parts.get("sigma", np.full(flux.shape, 0.01, np.float32)), "input_sigma")
    extra = [image_hdu(flux, "no_sky_subspectrum"), image_hdu(flux, "no_sky_sigma")]
    hdus = [sigma, *extra, image_hdu(np.ones(flux.shape), **rest)][: parts.get("hdus", 4)]
    return write_hdus(root / f"{star}{ccd}.fits", grid | parts.get("header", {}), *hdus, flux=flux)


def test_four_files_are_one_row(tmp_path: Path) -> None:
    for ccd in (1, 2, 3, 4):
        write(tmp_path, ccd)
    found = rows_of(GALAH, tmp_path)
    assert found["sobject_id"].to_pylist() == [STAR]
    assert found["rv"].to_pylist() == [pytest.approx(30, abs=1e-4)]
    assert found["rv_source"].to_pylist() == ["header"]
    for ccd, arm in enumerate(ARMS, start=1):
        assert set(array(found, f"flux_{arm.name}")[0]) == {100.0 * ccd}
        np.testing.assert_allclose(array(found, f"ivar_{arm.name}")[0], ccd**-2.0, rtol=1e-6)
        assert not array(found, f"mask_{arm.name}").any()
        assert array(found, f"wave_{arm.name}")[0, 0] == grid_of(ccd)["CRVAL1"]


@pytest.mark.parametrize("there", [(1, 3), (2, 3, 4), (4,)])
def test_a_missing_camera_leaves_its_arm_dark(tmp_path: Path, there: tuple[int, ...]) -> None:
    for ccd in there:
        write(tmp_path, ccd)
    found = rows_of(GALAH, tmp_path)
    assert len(found) == 1
    lit = [ccd for ccd in (1, 2, 3, 4) if array(found, f"ivar_ccd{ccd}").any()]
    assert lit == list(there)
    assert all(array(found, f"mask_ccd{ccd}").all() for ccd in (1, 2, 3, 4) if ccd not in there)


def test_a_model_reads_a_star_that_lacks_cameras(tmp_path: Path) -> None:
    write(tmp_path, 3)
    wanted = Input(grid=GALAH_GRID, frame="rest", medium="air")
    found = over_continuum(rows_of(GALAH, tmp_path), GALAH.spectrograph, wanted)
    assert found.good_fraction_N[0] > 0.9


def test_files_of_a_star_stay_in_one_shard(tmp_path: Path) -> None:
    for star in range(STAR, STAR + 40):
        for ccd in (1, 2, 3, 4):
            (tmp_path / f"{star}{ccd}.fits").touch()
    for star in range(STAR, STAR + 2 * GROUP_OF):
        (tmp_path / f"{star}1.fits").touch()
    shards = list(GALAH.list_shards(spec_of(GALAH, tmp_path)))
    assert len(shards) > 1
    assert sum(shard.rows for shard in shards) == 2 * GROUP_OF
    homes = [{member.path[:15] for member in shard.members} for shard in shards]
    assert sum(map(len, homes)) == len(set.union(*homes))


def test_the_same_star_in_two_folders_is_two_rows(tmp_path: Path) -> None:
    write(tmp_path / "com", 1)
    write(tmp_path / "all", 2)
    found = rows_of(GALAH, tmp_path)
    assert [array(found, "ivar_ccd1")[k].any() for k in (0, 1)] == [False, True]


@pytest.mark.parametrize("how", ["changed", "lost"])
def test_a_camera_that_changed_since_the_plan_is_refused(tmp_path: Path, how: str) -> None:
    for ccd in (1, 3):
        write(tmp_path, ccd)
    spec = spec_of(GALAH, tmp_path)
    [shard] = GALAH.list_shards(spec)
    before = shard.shard_id
    path = tmp_path / f"{STAR}3.fits"
    if how == "changed":
        write(tmp_path, 3, flux=np.full(4096, 7, np.float32))
        found = GALAH.read(spec, Task(task_id="t", shard=shard, start=0, stop=1))
        assert "changed since the plan" in found["read_problem"][0].as_py()
    else:
        path.unlink()
        with pytest.raises(ShardError):
            GALAH.read(spec, Task(task_id="t", shard=shard, start=0, stop=1))
    [shard] = GALAH.list_shards(spec)
    assert shard.shard_id != before
    assert shard.rows == 1


@pytest.mark.parametrize("rest", [None, 40_000.0])
def test_a_grid_that_tells_no_velocity_leaves_it_null(tmp_path: Path, rest: float | None) -> None:
    write(tmp_path, 2, rv=rest)
    assert rows_of(GALAH, tmp_path)["rv"].to_pylist() == [None]


def test_a_file_without_the_normalised_flux_is_read(tmp_path: Path) -> None:
    write(tmp_path, 2, hdus=1)
    assert rows_of(GALAH, tmp_path)["rv_source"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"hdus": 0}, "INPUT_SIGMA: missing"),
        ({"sigma": np.ones(4095, np.float32)}, "4095 pixels, expected 4096"),
        ({"flux": np.ones((2, 4096), np.float32)}, "one dimension"),
        ({"flux": np.ones(4097, np.float32)}, "2 to 4096"),
        ({"header": {"CUNIT1": "nm"}}, "another unit"),
        ({"header": grid_of(3)}, "most of 4713 to 4903"),
        ({"header": {"CRVAL1": "none"}}, "'none'"),
    ],
)
def test_a_wrong_file_is_corrupt_and_says_why(tmp_path: Path, wrong: dict[str, Any], complaint: str) -> None:
    write(tmp_path, 1, **wrong)
    with pytest.raises(ShardCorrupt, match=f"{STAR}1.fits.*{complaint}"):
        rows_of(GALAH, tmp_path)


def test_a_broken_camera_beside_a_sound_one_is_named(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (tmp_path / f"{STAR}4.fits").write_bytes(b"no")
    [row] = rows_of(GALAH, tmp_path).to_pylist()
    assert row["sobject_id"] == STAR
    assert f"{STAR}4.fits" in row["read_problem"]


def test_no_file_is_a_plan_error(tmp_path: Path) -> None:
    (tmp_path / "131216.fits").touch()
    with pytest.raises(PlanError, match="sobject_id"):
        GALAH.list_shards(spec_of(GALAH, tmp_path))


@given(st.lists(st.tuples(st.integers(0, 120_000), st.integers(0, 255)), max_size=8), st.floats(0.1, 1))
@settings(max_examples=40)
def test_damaged_bytes_end_in_a_shard_error_or_in_rows(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, int]], keep: float
) -> None:
    root = tmp_path_factory.mktemp("damaged")
    path = write(root, 2)
    path.write_bytes(damage(path.read_bytes(), cuts, keep))
    try:
        assert len(rows_of(GALAH, root)) == 1
    except ShardError as error:
        assert path.name in str(error)


@pytest.mark.realdata
def test_mu_leonis(realdata: Path) -> None:
    found = rows_of(GALAH, realdata / "galah")
    assert found["sobject_id"].to_pylist() == [STAR]
    assert found["rv"].to_pylist() == [pytest.approx(-3.95, abs=0.001)]
    path = realdata / "galah" / f"{STAR}3.fits"
    np.testing.assert_array_equal(array(found, "flux_ccd3")[0], pixels_of(path))
    error = pixels_of(path) * pixels_of(path, "input_sigma")
    np.testing.assert_allclose(array(found, "ivar_ccd3")[0], error**-2, rtol=1e-5)
    assert all(array(found, f"mask_ccd{ccd}").all() for ccd in (1, 2, 4))
    prepared = over_continuum(found, GALAH.spectrograph, Input(grid=GALAH_GRID, frame="rest", medium="air"))
    assert prepared.good_fraction_N[0] > 0.95
    assert 300 < prepared.snr_N[0] < 350
    wave = GALAH_GRID.wave_P
    near = np.abs(wave - H_ALPHA) < 2
    assert wave[near][prepared.flux_NP[0][near].argmin()] == pytest.approx(H_ALPHA, abs=0.11)
