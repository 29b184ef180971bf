"""One-dimensional FITS spectra: wavelengths against astropy, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ShardCorrupt
from engine.surveys.fits import opened
from engine.surveys.store import Folder
from engine.surveys.wcs import Spectrum, columns, image, is_image, ivar_of, table, unit_of, wavelengths
from engine.types import Arm, Waves
from tests.unit.wcs_files import image_hdu, linear, table_hdu, write_hdus

ARM = Arm(name="a", grid=Waves(pixels=8, low=5000.0, high=5006.0))


def waves_of(path: Path, header: dict[str, Any], pixels: int = 7) -> np.ndarray:
    write_hdus(path / "a.fits", header, flux=np.ones(pixels))
    with opened(Folder(path), "a.fits") as file:
        hdu = next(iter(file.walk()))
        return wavelengths(hdu, len(image(file, hdu, pixels)))


@given(
    st.floats(3000, 9000),
    st.floats(1e-3, 5),
    st.floats(-50, 50),
    st.sampled_from(["AWAV", "AWAV-LOG"]),
    st.sampled_from(["Angstrom", "nm"]),
)
def test_wavelengths_equal_those_of_astropy(
    tmp_path_factory: Any, first: float, step: float, pixel: float, kind: str, unit: str
) -> None:
    header = {"CRVAL1": first, "CDELT1": step, "CRPIX1": pixel, "CTYPE1": kind, "CUNIT1": unit}
    theirs = WCS(fits.Header({"NAXIS": 1, "NAXIS1": 7, **header})).all_pix2world(np.arange(7), 0)[0]
    ours = waves_of(tmp_path_factory.getbasetemp(), header)
    # astropy answers in metres.
    np.testing.assert_allclose(ours, np.asarray(theirs) * 1e10, rtol=1e-10)


@pytest.mark.parametrize("logarithmic", [{"DC-FLAG": 1}, {"CTYPE1": "LOG-LINEAR"}])
def test_iraf_writes_log10(tmp_path: Path, logarithmic: dict[str, Any]) -> None:
    header = {"CRVAL1": 3.7, "CD1_1": 1e-4, **logarithmic}
    np.testing.assert_allclose(waves_of(tmp_path, header), 10 ** (3.7 + 1e-4 * np.arange(7)), rtol=1e-14)


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ({"CRVAL1": 5000.0}, "CD1_1"),
        ({"CDELT1": 0.1}, "CRVAL1"),
        (linear(5000, 0.1) | {"CRVAL1": "blue"}, "'blue'"),
        (linear(5000, 0.1) | {"CRPIX1": True}, "CRPIX1"),
        (linear(5000, 0.1, "furlong"), "furlong"),
        (linear(5000, 0.1, "Hz"), "Hz"),
    ],
)
def test_a_header_that_says_no_wavelengths_is_refused(
    tmp_path: Path, header: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ShardCorrupt, match=complaint):
        waves_of(tmp_path, header)


def test_a_whole_number_beyond_64_bits_is_a_number(tmp_path: Path) -> None:
    assert waves_of(tmp_path, linear(10**22 + 1, 0.1)).tolist() == [1e22] * 7


def spectrum(wave: Any, **parts: Any) -> Spectrum:
    count = len(wave)
    filled = {
        "flux_P": np.arange(count, dtype=float),
        "ivar_P": np.ones(count),
        "mask_P": np.zeros(count, np.int32),
    }
    return Spectrum(wave_P=np.asarray(wave, float), **(filled | parts))


def test_a_short_spectrum_ends_in_missing_pixels() -> None:
    found = columns(ARM, spectrum(np.arange(5000.0, 5006.0)))
    assert found["wave_a"][0, :6].tolist() == list(range(5000, 5006))
    assert np.isnan(found["wave_a"][0, 6:]).all()
    assert found["mask_a"].tolist() == [[0] * 6 + [1] * 2]
    assert found["ivar_a"][0, 6:].tolist() == [0, 0]


def test_descending_wavelengths_are_turned_with_everything() -> None:
    found = columns(ARM, spectrum(np.arange(5007.0, 4999.0, -1)))
    assert found["wave_a"][0].tolist() == list(range(5000, 5008))
    assert found["flux_a"][0].tolist() == list(range(7, -1, -1))


def test_an_arm_without_a_spectrum_is_dark() -> None:
    found = columns(ARM, None)
    assert not found["ivar_a"].any()
    assert found["mask_a"].all()
    assert found["wave_a"][0, [0, -1]].tolist() == [5000, 5006]


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (spectrum(np.linspace(500.0, 500.7, 8)), "500 to 500.7.*another unit"),
        (spectrum(np.arange(5004.0, 5010.0)), "most of 5000 to 5006"),
        (spectrum([5000, 5001, 5001, 5006]), "monotonic"),
        (spectrum([5000, np.nan, 5002, 5006]), "monotonic"),
        (spectrum(np.linspace(5000, 5006, 9)), "up to 8"),
        (spectrum(np.arange(5000.0, 5006.0), flux_P=np.ones(5)), r"\[5, 6\] pixels"),
    ],
)
def test_what_is_not_this_arm_is_refused(wrong: Spectrum, complaint: str) -> None:
    with pytest.raises(ShardCorrupt, match=complaint):
        columns(ARM, wrong)


def test_errors_that_are_none_have_no_weight() -> None:
    assert ivar_of(np.array([0.5, 0.0, -1.0, np.nan, np.inf])).tolist() == [4, 0, 0, 0, 0]


@pytest.mark.parametrize("one_row", [True, False])
def test_a_table_of_one_row_and_one_of_many_hold_the_same(tmp_path: Path, one_row: bool) -> None:
    values = np.arange(5.0)
    tall = fits.BinTableHDU.from_columns(
        [
            fits.Column(name="Name", format="3A", array=["abc"] * 5),
            fits.Column(name="Wave", format="E", unit="nm", array=values),
        ]
    )
    wide = table_hdu({"WAVE": "nm"}, QUAL=np.arange(5), WAVE=values)
    write_hdus(tmp_path / "a.fits", {}, wide if one_row else tall)
    with opened(Folder(tmp_path), "a.fits") as file:
        hdu = list(file.walk())[1]
        assert table(file, hdu, ["WAVE", "FLUX"], 5)["WAVE"].tolist() == values.tolist()
        assert unit_of(hdu, "WAVE") == 10
        assert not is_image(hdu)
        with pytest.raises(ShardCorrupt, match="2 to 4"):
            table(file, hdu, ["WAVE"], 4)


def test_scaled_integers_and_shapes(tmp_path: Path) -> None:
    scaled = table_hdu(FLUX=np.array([2, 4, 6]))
    scaled.header["TSCAL1"], scaled.header["TZERO1"] = 0.5, 10
    flat = image_hdu(np.arange(6, dtype=np.float32).reshape(1, 1, 6))
    square = image_hdu(np.ones((2, 3)))
    write_hdus(tmp_path / "a.fits", {}, scaled, flat, square)
    with opened(Folder(tmp_path), "a.fits") as file:
        _, scaled, flat, square = file.walk()
        assert table(file, scaled, ["FLUX"], 5)["FLUX"].tolist() == [11, 12, 13]
        assert image(file, flat, 6).tolist() == list(range(6))
        with pytest.raises(ShardCorrupt, match="one dimension"):
            image(file, square, 100)
