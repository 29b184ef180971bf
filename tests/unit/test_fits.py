"""Direct reads give what fitsio and astropy give; what is broken is named."""

import gzip
import io
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ShardCorrupt, ShardUnavailable
from engine.surveys import fits, fits_tables
from engine.surveys.fits import named, opened, read_rows
from engine.surveys.fits_headers import alone_in_a_file, find_hdu
from engine.surveys.fits_tables import read_table
from engine.surveys.store import Folder, folder
from engine.types import Extent
from tests.unit.desi_files import DesiFile

ROWS = 7


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return DesiFile(rows=ROWS, mask_kind="uint32", resolution=True).write(
        tmp_path_factory.mktemp("fits") / "coadd-0-1-thru2.fits"
    )


def image(path: Path, name: str, rows: list[int], kind: type = np.float32) -> np.ndarray:
    with opened(Folder(path.parent), path.name) as file:
        extent = next(hdu.extent for hdu in file.walk() if hdu.name == name)
        out = np.zeros((len(rows), extent.shape[1]), kind)
        read_rows(file, name, extent, np.array(rows, np.int64), out)
    return out


@given(rows=st.sets(st.integers(0, ROWS - 1)))
def test_any_rows_equal_fitsio_and_astropy(path: Path, rows: set[int]) -> None:
    chosen = sorted(rows)
    for name, kind in (("B_FLUX", np.float32), ("R_IVAR", np.float32), ("Z_MASK", np.int32)):
        ours = image(path, name, chosen, kind)
        assert np.array_equal(ours, fitsio.read(str(path), ext=name)[chosen].astype(kind))
        assert np.array_equal(ours, astropy_fits.getdata(path, name)[chosen].astype(kind))


def test_rows_are_read_in_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "PIECE_BYTES", 2 * 4 * 2751 + 1)
    assert np.array_equal(
        image(path, "B_FLUX", [0, 1, 2, 4, 6]), fitsio.read(str(path), "B_FLUX")[[0, 1, 2, 4, 6]]
    )


def test_a_read_that_comes_in_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset: whole(fd, [views[0][:1000]], offset))
    assert np.array_equal(image(path, "B_FLUX", [1, 2]), fitsio.read(str(path), "B_FLUX")[[1, 2]])


@pytest.mark.parametrize("kind", ["int32", "uint32", "compressed"])
def test_mask_encodings_are_equal_bit_for_bit(tmp_path: Path, kind: str) -> None:
    bits = np.array([[0, 1, 2**12, 2**30]] * 2, np.int64) | (0 if kind == "int32" else 2**31)
    mask = np.repeat(bits, 100, axis=1).astype(np.int32 if kind == "int32" else np.uint32)
    path = DesiFile(rows=2, mask_kind=kind, images={"B_MASK": mask}).write(tmp_path / "coadd-x.fits")
    assert np.array_equal(image(path, "B_MASK", [0, 1], np.int32), mask.astype(np.int32))


def test_walk_knows_every_hdu(path: Path) -> None:
    with opened(Folder(path.parent), path.name) as file:
        found = {hdu.name: hdu for hdu in file.walk()}
    with astropy_fits.open(path) as library:
        assert list(found) == [hdu.name for hdu in library]
        for hdu in library[2:]:
            assert found[hdu.name].extent.offset == hdu.fileinfo()["datLoc"]
            assert found[hdu.name].extent.shape == hdu.shape
    assert found["FIBERMAP"].extent == Extent(offset=found["FIBERMAP"].extent.offset, dtype="", shape=(ROWS,))


def test_header_values(tmp_path: Path) -> None:
    header = {"A": "it's / here", "B": -3, "C": 2.5e-3, "D": True, "E": ""}
    path = DesiFile(rows=1, header=header).write(tmp_path / "coadd-x.fits")
    with opened(Folder(path.parent), path.name) as file:
        primary = next(file.walk())
    assert {key: primary.value(key) for key in header} == header
    assert primary.value("MISSING", 7) == 7


def test_table_equals_fitsio(tmp_path: Path) -> None:
    columns = {
        "FLAGS": np.array([True, False, True]),
        "VECTOR": np.arange(6.0).reshape(3, 2),
        "U": np.arange(3, dtype="u4"),
    }
    table = np.zeros(
        3, [("ID", "i8"), ("FLAGS", "?"), ("NAME", "S5"), ("VECTOR", "f8", 2), ("U", "u4"), ("S", "i2")]
    )
    for name, values in columns.items():
        table[name] = values
    table["ID"] = [2**60 + 1, -5, 0]
    table["NAME"] = ["ab", "", "abcde"]
    path = tmp_path / "table.fits"
    fitsio.write(str(path), table, extname="T")
    with opened(Folder(path.parent), path.name) as file:
        hdu = next(hdu for hdu in file.walk() if hdu.name == "T")
        ours = read_table(file.file, hdu, {"U": "i", "ID": "i", "NAME": "U", "ABSENT": "i"}, 1, 3)
        with pytest.raises(ShardCorrupt, match=r"VECTOR: cells of shape \(2,\), expected \(\)"):
            read_table(file.file, hdu, {"VECTOR": "f"}, 1, 3)
        with pytest.raises(ShardCorrupt, match="column S is int16, expected kind 'U'"):
            read_table(file.file, hdu, {"S": "U"}, 1, 3)
    assert set(ours) == {"U", "ID", "NAME"}
    assert ours["ID"].tolist() == [-5, 0]
    assert ours["ID"].dtype == np.dtype("=i8")
    assert ours["NAME"].tolist() == ["", "abcde"]
    assert ours["U"].tolist() == [1, 2]


def test_scaled_images_go_through_astropy(tmp_path: Path) -> None:
    stored = astropy_fits.ImageHDU(np.arange(6, dtype=np.int16).reshape(2, 3), name="X")
    stored.header["BSCALE"], stored.header["BZERO"] = 0.5, 1.0
    path = tmp_path / "scaled.fits"
    astropy_fits.HDUList([astropy_fits.PrimaryHDU(), stored]).writeto(path)
    assert np.array_equal(image(path, "X", [1]), astropy_fits.getdata(path, "X")[[1]])


def test_gzip_equals_plain_and_warns_once(path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "coadd-x.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    fits.warn_of_gzip.cache_clear()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for rows in ([0, 1], [5]):
            assert np.array_equal(image(packed, "B_FLUX", rows), image(path, "B_FLUX", rows))
    assert len(said) == 1
    assert "70 times" in str(said[0].message)


def test_gzip_is_inflated_once_and_again_when_changed(path: Path, tmp_path: Path) -> None:
    packed = tmp_path / "coadd-x.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    before = fits._inflate.cache_info().misses
    image(packed, "B_FLUX", [0])
    image(packed, "B_FLUX", [1])
    assert fits._inflate.cache_info().misses == before + 1
    os.utime(packed, ns=(1, 1))
    image(packed, "B_FLUX", [1])
    assert fits._inflate.cache_info().misses == before + 2


@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_broken_gzip_is_corrupt(path: Path, tmp_path: Path, keep: float) -> None:
    packed = tmp_path / "coadd-x.fits.gz"
    whole = gzip.compress(path.read_bytes(), 1)
    packed.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(ShardCorrupt, match="broken gzip"):
        image(packed, "B_FLUX", [0])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a FITS file"),
        (b"<html>404</html>" * 1000, "not a FITS file"),
        (b"SIMPLE  =                    T" + b" " * 50, "no END"),
        (b"SIMPLE  =".ljust(80) + b"END".ljust(2800), "NAXIS"),
        (b"SIMPLE  =".ljust(80) + b"NAXIS   = 'two'".ljust(80) + b"END".ljust(2720), "integers"),
        (
            b"SIMPLE  =".ljust(80)
            + b"NAXIS   = 1".ljust(80)
            + b"NAXIS1  = -9".ljust(80)
            + b"END".ljust(2640),
            "NAXISn = ",
        ),
    ],
)
def test_what_is_not_fits(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    with pytest.raises(ShardCorrupt, match=message), opened(Folder(path.parent), path.name) as file:
        list(file.walk())


def test_a_file_cut_after_the_walk_is_corrupt(path: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.fits"
    short.write_bytes(path.read_bytes()[:20_000])
    extent = Extent(offset=19_000, dtype=">f4", shape=(ROWS, 2751))
    with (
        opened(Folder(short.parent), short.name) as file,
        pytest.raises(ShardCorrupt, match="B_FLUX: ends at byte 20000"),
    ):
        read_rows(file, "B_FLUX", extent, np.arange(1), np.zeros((1, 2751), np.float32))


def test_table_that_makes_no_sense(path: Path) -> None:
    with opened(Folder(path.parent), path.name) as file:
        hdu = next(hdu for hdu in file.walk() if hdu.name == "FIBERMAP")
        with pytest.raises(ShardCorrupt, match="expected rows 0 to 99"):
            read_table(file.file, hdu, {"TARGETID": "i"}, 0, 99)
        for card, value, message in (
            ("TFORM1", "'Y'", "TFORM1 = 'Y'"),
            ("TFORM1", "'J'", "they take"),
            ("TFORM1", "'999999999E'", "expected shorter cells"),
            ("TFORM1", "'99999999999A'", "expected the format"),
            ("TFORM1", "'999999999A'", "they take"),
            ("TSCAL1", "'x'", "TSCAL = 'x'"),
            ("TFIELDS", "'x'", "TFIELDS = 'x', expected 1 to 999"),
            ("TFIELDS", "1000", "TFIELDS = 1000"),
        ):
            changed = replace(hdu, cards={**hdu.cards, card: value})
            with pytest.raises(ShardCorrupt, match=message):
                read_table(file.file, changed, {"TARGETID": "i"}, 0, 1)


def cells(path: Path, wanted: dict[str, str], cards: dict[str, str], *columns: Any) -> dict[str, Any]:
    """What a table of two rows gives, arrays included, once some cards of its header are others."""
    made = astropy_fits.BinTableHDU.from_columns(columns)
    astropy_fits.HDUList([astropy_fits.PrimaryHDU(), made]).writeto(path)
    with opened(Folder(path.parent), path.name) as file:
        _, hdu = file.walk()
        changed = replace(hdu, cards={**hdu.cards, **cards})
        return read_table(file.file, changed, wanted, 0, 2, arrays=True)


FLUX = astropy_fits.Column(name="FLUX", format="3E", array=np.arange(6.0).reshape(2, 3))
OTHER = astropy_fits.Column(name="OTHER", format="J", array=[1, 2])


def test_arrays_columns_of_one_name_and_cells_without_width(tmp_path: Path) -> None:
    cards = {"TTYPE2": "'FLUX'", "TFIELDS": "4", "TTYPE3": "'EMPTY'", "TFORM3": "'0A'", "TFORM4": "'0J'"}
    cards |= {"TTYPE4": "'NONE'"}
    found = cells(tmp_path / "a.fits", {"EMPTY": "U", "FLUX": "f", "NONE": "i"}, cards, FLUX, OTHER)
    assert found["FLUX"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found["EMPTY"].tolist() == ["", ""]
    assert found["NONE"].shape == (2, 0)


def test_rows_of_no_bytes_are_refused_however_many(tmp_path: Path) -> None:
    with pytest.raises(ShardCorrupt, match="they take 0 bytes"):
        cells(tmp_path / "a.fits", {"OTHER": "i"}, {"TFORM1": "'0J'", "NAXIS1": "0"}, OTHER)


def test_more_bytes_than_any_survey_has_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fits_tables, "MOST_BYTES", 100)
    with opened(Folder(path.parent), path.name) as file:
        hdu = next(hdu for hdu in file.walk() if hdu.name == "FIBERMAP")
        with pytest.raises(ShardCorrupt, match=f"bytes in {ROWS} rows, expected 100 at most"):
            read_table(file.file, hdu, {"TARGETID": "i"}, 0, ROWS)


def test_floats_that_are_shifted_stay_floats(tmp_path: Path) -> None:
    found = cells(tmp_path / "a.fits", {"FLUX": "f"}, {"TZERO1": "5", "TSCAL1": "1"}, FLUX)
    assert found["FLUX"].tolist() == [[5, 6, 7], [8, 9, 10]]


def test_what_cannot_be_reached(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ShardUnavailable, match=r"gone\.fits: No such file"), named(tmp_path / "gone.fits"):
        image(tmp_path / "gone.fits", "B_FLUX", [0])
    with (
        pytest.raises(ShardUnavailable, match="directory"),
        opened(Folder(tmp_path.parent), tmp_path.name) as file,
    ):
        list(file.walk())

    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", broken)
    with pytest.raises(ShardUnavailable, match="Input/output error"):
        image(path, "B_FLUX", [0])


def test_compressed_image_that_cannot_be_decoded(tmp_path: Path) -> None:
    path = DesiFile(rows=2, mask_kind="compressed").write(tmp_path / "coadd-x.fits")
    with opened(Folder(path.parent), path.name) as file:
        extent = next(hdu.extent for hdu in file.walk() if hdu.name == "B_MASK")
    content = bytearray(path.read_bytes())
    content[extent.offset : extent.offset + 40] = b"\x7f" * 40
    path.write_bytes(content)
    with pytest.raises(ShardCorrupt, match="B_MASK"):
        image(path, "B_MASK", [0, 1], np.int32)


def test_a_compressed_image_is_decoded_beside_a_broken_header(tmp_path: Path) -> None:
    mask = np.arange(2 * 2751, dtype=np.int32).reshape(2, -1)
    path = DesiFile(rows=2, mask_kind="compressed", images={"B_MASK": mask}).write(tmp_path / "coadd-x.fits")
    content = path.read_bytes()
    place = content.index(b"GCOUNT  =", content.index(b"'FIBERMAP'"))
    path.write_bytes(content[:place] + b"GCOUNT  = 'x'".ljust(80) + content[place + 80 :])
    with astropy_fits.open(path) as library, pytest.raises(TypeError):
        library["B_MASK"]
    with opened(Folder(path.parent), path.name) as file:
        alone = alone_in_a_file(file.file.fetch, find_hdu(file.walk(), "B_MASK"))
    with astropy_fits.open(io.BytesIO(alone)) as library:
        assert np.array_equal(library[1].data, mask)
    assert np.array_equal(image(path, "B_MASK", [0, 1], np.int32), mask)
