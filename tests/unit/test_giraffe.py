"""GIRAFFE HR15N: ESO's tables, images, every way to say errors, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import PlanError, ShardCorrupt, ShardError
from engine.models.mlp import HR15N_GRID
from engine.prepare.normalised import over_continuum
from engine.surveys.giraffe import GIRAFFE
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
    table_hdu,
    write_hdus,
)

WAVE = 6470 + 0.05 * np.arange(6400)
FLUX = 100 + np.sin(WAVE)
H_ALPHA, LITHIUM = 6562.80, 6707.8
PROCYON_RV = 2.9


def eso(root: Path, primary: dict[str, Any] | None = None, **columns: Any) -> Path:
    """A product of ESO's archive; a column that is None is left out."""
    arrays = {"WAVE": WAVE / 10, "FLUX": FLUX, "ERR": np.full(len(WAVE), 0.5)} | columns
    unit = {"WAVE": "nm"}
    hdu = table_hdu(unit, **{name: values for name, values in arrays.items() if values is not None})
    header = {"OBJECT": "Star 7", "RA": 101.5, "DEC": -30.25, "SPECSYS": "BARYCENT"}
    return write_hdus(root / "ADP.2014-05-01.fits", header | (primary or {}), hdu)


def images(root: Path, *hdus: Any, flux: np.ndarray = FLUX, **header: Any) -> Path:
    grid = linear(647.0, 0.005, "nm") | header
    return write_hdus(root / "night" / "star.fits", grid, *hdus, flux=flux)


def test_a_product_of_eso_is_a_row(tmp_path: Path) -> None:
    qual = np.zeros(len(WAVE), int)
    qual[5] = 4
    eso(tmp_path, {"VHELIO": 12.5}, QUAL=qual)
    found = rows_of(GIRAFFE, tmp_path)
    assert found.select(["object", "file", "ra", "dec", "rv", "rv_source"]).to_pylist() == [
        {
            "object": "Star 7",
            "file": "ADP.2014-05-01",
            "ra": 101.5,
            "dec": -30.25,
            "rv": 12.5,
            "rv_source": "header",
        }
    ]
    np.testing.assert_allclose(array(found, "wave_hr15n")[0, :6400], WAVE, rtol=1e-12)
    np.testing.assert_allclose(array(found, "flux_hr15n")[0, :6400], FLUX, rtol=1e-6)
    assert set(array(found, "ivar_hr15n")[0, :6400]) == {4.0}
    assert np.flatnonzero(array(found, "mask_hr15n")[0, :6400]).tolist() == [5]


def test_counts_take_their_own_errors(tmp_path: Path) -> None:
    errors = np.full(len(WAVE), 0.25)
    eso(tmp_path, FLUX=None, ERR=None, FLUX_REDUCED=FLUX * 2, ERR_REDUCED=errors)
    found = rows_of(GIRAFFE, tmp_path)
    np.testing.assert_allclose(array(found, "flux_hr15n")[0, :6400], 2 * FLUX, rtol=1e-6)
    assert set(array(found, "ivar_hr15n")[0, :6400]) == {16.0}


@pytest.mark.parametrize(
    ("second", "header", "ivar"),
    [
        (image_hdu(np.full(6400, 0.5)), {}, 4.0),
        (image_hdu(np.full(6400, 0.5), "ERRORS"), {}, 4.0),
        (image_hdu(np.full(6400, 9.0), "INVERSE_VARIANCE"), {}, 9.0),
        (image_hdu(np.full(3, 9.0), "SKY"), {"SNR": 50.0}, (50 / np.median(FLUX)) ** 2),
        (image_hdu(np.full((2, 2), 9.0)), {"SNR": 50}, (50 / np.median(FLUX)) ** 2),
    ],
)
def test_errors_of_an_image(tmp_path: Path, second: Any, header: dict[str, Any], ivar: float) -> None:
    images(tmp_path, second, **header)
    found = rows_of(GIRAFFE, tmp_path)
    np.testing.assert_allclose(array(found, "ivar_hr15n")[0, :6400], ivar, rtol=1e-6)
    np.testing.assert_allclose(array(found, "wave_hr15n")[0, :6400], WAVE, rtol=1e-9)
    assert found["object"].to_pylist() == ["star"]
    assert found["file"].to_pylist() == ["night/star"]
    assert found["ra"].null_count == found["rv"].null_count == found["position_source"].null_count == 1


@pytest.mark.parametrize(
    "header", [{"VHELIO": "None"}, {"RV": -9999.0}, {"RA": "06:46:00", "DEC": -30.0}, {"RA": -9999.0}]
)
def test_placeholders_become_null(tmp_path: Path, header: dict[str, Any]) -> None:
    images(tmp_path, image_hdu(np.ones(6400)), **header)
    found = rows_of(GIRAFFE, tmp_path)
    assert found["rv"].null_count == found["ra"].null_count == found["position_source"].null_count == 1


@pytest.mark.parametrize(("ra", "towards"), [(270.0, 1), (90.0, -1), (0.0, 0), (180.0, 0)])
def test_topocentric_wavelengths_are_moved_to_the_barycentre(tmp_path: Path, ra: float, towards: int) -> None:
    # At the equinox of March the Earth moves towards ecliptic longitude 270 degrees at 29.9 km/s.
    place = {"RA": ra, "DEC": -23.44 * np.sin(np.radians(ra)) * -1, "MJD-OBS": 58928.16, "EXPTIME": 600.0}
    eso(tmp_path, {"SPECSYS": "TOPOCENT"} | place)
    moved = array(rows_of(GIRAFFE, tmp_path), "wave_hr15n")[0, :6400]
    velocity = (moved / WAVE - 1) * 299792.458
    assert np.ptp(velocity) < 1e-6
    assert velocity[0] == pytest.approx(29.9 * towards, abs=1.0)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"ERR": None}, "no errors: .* SNR"),
        ({"FLUX": None}, "expected WAVE, FLUX and ERR"),
        ({"WAVE": None}, "no spectrum"),
        ({"ERR": np.ones(6399)}, r"\[6399, 6400\] pixels"),
        ({"WAVE": WAVE}, "64700 to .* another unit"),
        ({"WAVE": WAVE / 10 - 60}, "most of 6470 to 6790"),
        ({"WAVE": np.full(6400, np.nan)}, "monotonic"),
        ({"WAVE": WAVE[:1], "FLUX": FLUX[:1], "ERR": FLUX[:1]}, "2 to 8192"),
        ({"WAVE": np.arange(9000.0)}, "9000 pixels"),
        ({"primary": {"SPECSYS": "TOPOCENT"}}, "MJD-OBS"),
        ({"primary": {"SNR": "good"}, "ERR": None}, "'good'"),
    ],
)
def test_a_wrong_product_is_corrupt_and_says_why(
    tmp_path: Path, wrong: dict[str, Any], complaint: str
) -> None:
    path = eso(tmp_path, **wrong)
    with pytest.raises(ShardCorrupt, match=f"{path.name}.*{complaint}"):
        rows_of(GIRAFFE, tmp_path)


@pytest.mark.parametrize("flux", [np.ones((3, 6400)), np.ones(1), np.ones(10_000)])
def test_an_image_of_another_shape_is_corrupt(tmp_path: Path, flux: np.ndarray) -> None:
    images(tmp_path, flux=flux)
    with pytest.raises(ShardCorrupt, match=r"star\.fits"):
        rows_of(GIRAFFE, tmp_path)


def test_no_file_is_a_plan_error(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="fits"):
        GIRAFFE.list_shards(spec_of(GIRAFFE, tmp_path))


@pytest.mark.parametrize("kind", ["table", "image"])
@given(st.lists(st.tuples(st.integers(0, 200_000), st.integers(0, 255)), max_size=8), st.floats(0.1, 1))
@settings(max_examples=40)
def test_damaged_bytes_end_in_a_shard_error_or_in_rows(
    tmp_path_factory: pytest.TempPathFactory, kind: str, cuts: list[tuple[int, int]], keep: float
) -> None:
    root = tmp_path_factory.mktemp("damaged")
    path = eso(root) if kind == "table" else images(root, image_hdu(np.ones(6400)))
    # Half of the damage goes where it hurts: into the headers.
    headers = [(place % 11_520, value) for place, value in cuts[::2]]
    path.write_bytes(damage(path.read_bytes(), [*headers, *cuts[1::2]], keep))
    try:
        assert len(rows_of(GIRAFFE, root)) == 1
    except ShardError as error:
        assert path.name in str(error)


@pytest.mark.realdata
@pytest.mark.parametrize("form", ["table", "image"])
def test_procyon_at_the_resolution_of_hr15n(realdata: Path, tmp_path: Path, form: str) -> None:
    flux_P = pixels_of(realdata / "benchmark_stars" / "HARPS.GBOG_Procyon.fits")
    # The file is at rest, to the pixel; we move it, as a telescope would see it.
    wave_P = 4800 + 0.01 * np.arange(len(flux_P))
    flux = degraded(wave_P * (1 + PROCYON_RV / 299792.458), flux_P, 19_200, WAVE)
    errors = flux / 80
    if form == "table":
        eso(tmp_path, {"VHELIO": PROCYON_RV}, FLUX=flux, ERR=errors)
    else:
        images(tmp_path, image_hdu(errors, "ERR"), flux=flux, VHELIO=PROCYON_RV)
    wanted = Input(grid=HR15N_GRID, frame="rest", medium="air")
    found = over_continuum(rows_of(GIRAFFE, tmp_path), GIRAFFE.spectrograph, wanted)
    assert found.good_fraction_N[0] > 0.97
    assert found.snr_N[0] == pytest.approx(80, rel=0.01)
    wave = HR15N_GRID.wave_P
    near = np.abs(wave - H_ALPHA) < 2
    assert wave[near][found.flux_NP[0][near].argmin()] == pytest.approx(H_ALPHA, abs=0.16)
    assert found.flux_NP[0][near].min() < 0.6
