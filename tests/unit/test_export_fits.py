"""FITS files of catalogs: what a reader finds in them is what the catalog holds, NULLs included."""

import warnings
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs import open_catalog
from catalogs.export import fits as writer
from catalogs.export.cells import cells_of, packed, row_type
from catalogs.export.place import need
from catalogs.export.release import export
from catalogs.export.request import Asked, Exported, Selection
from catalogs.export.rows import Measured, Stats
from catalogs.export.words import ascii_text, cds_unit, fits_unit
from engine.errors import InputError, RunError
from tests.unit.catalog_rows import FIRST_ID
from tests.unit.exports import FLAG_WORDS, catalog


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return catalog(tmp_path_factory.mktemp("stars"))


@pytest.fixture(scope="module")
def file(stars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fits") / "stars.fits"
    done = export(Asked(catalog=stars, out=out), "fits")
    assert done == Exported(out=out, rows=300, columns=59, bytes=out.stat().st_size)
    return out


def test_checksums_and_structure_are_right(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(file, checksum=True) as found:
            found.verify("exception")
            assert [hdu.name for hdu in found] == ["PRIMARY", "CATALOG"]
            assert {"CHECKSUM", "DATASUM"} <= {*found[0].header} & {*found[1].header}
    content = bytearray(file.read_bytes())
    content[-5000] ^= 1
    damaged = file.with_name("damaged.fits")
    damaged.write_bytes(content)
    with pytest.warns(UserWarning, match="verification failed"), fits.open(damaged, checksum=True) as found:
        assert len(found[1].data) == 300
    assert file.stat().st_size % 2880 == 0


def test_every_cell_is_that_of_the_catalog(stars: Path, file: Path) -> None:
    rows = open_catalog(stars).to_arrow()
    with fitsio.FITS(str(file)) as found:
        cells = found["CATALOG"].read()
    nulls = {key: value for key, value in fits.getheader(file, 1).items() if key[:5] == "TNULL"}
    assert list(cells.dtype.names) == rows.column_names
    for number, name in enumerate(rows.column_names, 1):
        wanted = rows[name].to_pylist()
        assert [_plain(one, nulls.get(f"TNULL{number}")) for one in cells[name].tolist()] == [
            _expected(one) for one in wanted
        ], name


def _plain(value: Any, null: int | None) -> Any:
    if isinstance(value, bytes | str):
        return (value if isinstance(value, str) else value.decode("ascii")).rstrip() or None
    return None if value == null or value != value else value


def _expected(value: Any) -> Any:
    """FITS cannot tell an empty text from none, and knows ASCII only."""
    if isinstance(value, str):
        return value.encode("ascii", "backslashreplace").decode().rstrip() or None
    return value


def test_astropy_masks_what_is_null_and_keeps_ids(stars: Path, file: Path) -> None:
    with warnings.catch_warnings():
        # astropy does not know log(), which the standard has (4.3.1), nor dex in FITS.
        warnings.simplefilter("ignore")
        table = Table.read(file, hdu="CATALOG")
    rows = open_catalog(stars).to_arrow()
    assert np.array_equal(table["targetid"], rows["targetid"].to_numpy())
    assert int(table["targetid"].min()) == FIRST_ID
    for name in ("tile", "gaia_source_id", "teff"):
        assert np.array_equal(np.ma.getmaskarray(table[name].data), rows[name].is_null().to_numpy()), name
    assert table["flag_bad"].dtype == bool
    assert np.array_equal(table["flag_bad"], rows["flag_bad"].to_numpy())
    assert [str(table[name].unit) for name in ("teff", "rv", "logg")] == ["K", "km / s", "log(cm s-2)"]


def test_the_header_says_what_and_where_from(stars: Path, file: Path) -> None:
    head, table = fits.getheader(file, 0), fits.getheader(file, 1)
    assert (head["CATALOG"], head["CATVERS"], head["SURVEY"]) == ("stars", "v1", "desi")
    assert (head["BUNDLE"], head["BUNSHA"], head["CODEVERS"]) == ("small", "cd" * 32, "0.0.9")
    assert head["PLANSHA"] == open_catalog(stars).manifest["plan_digest"]
    teff = [*table.values()].index("teff")
    number = [*table.keys()][teff].removeprefix("TTYPE")
    assert table[f"TUNIT{number}"] == "K"
    assert table[f"TUCD{number}"] == "phys.temperature.effective"
    assert table[f"TCOMM{number}"] == "Effective temperature; NULL = no result"
    assert {flag["name"] for flag in FLAG_WORDS} == {v for k, v in table.items() if k[:5] == "FLAGB"}


def test_some_columns_of_some_rows(stars: Path, tmp_path: Path) -> None:
    chosen = Selection(columns=("teff", "targetid"), where="good('teff') AND snr > 50 -- bright")
    done = export(Asked(catalog=stars, out=tmp_path / "some.fits", selection=chosen), "fits")
    cells = fitsio.read(tmp_path / "some.fits", ext=1)
    assert cells.dtype.names == ("teff", "targetid")
    rows = open_catalog(stars).to_arrow().to_pylist()
    wanted = [
        row["targetid"] for row in rows if row["snr"] > 50 and row["flag_teff"] == 0 and not row["flag_bad"]
    ]
    assert cells["targetid"].tolist() == wanted and done.rows == len(wanted) > 0
    assert fits.getheader(tmp_path / "some.fits")["SELECT"] == chosen.where


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (Selection(columns=("tef",)), "no column 'tef'; did you mean teff"),
        (Selection(columns=("teff", "teff")), "teff is asked for twice"),
        (Selection(where="snr > 1e9"), "no row of .* is chosen"),
        (Selection(where="snrr > 5"), "SQL: "),
        (Selection(where="snr > 5; DROP VIEW catalog"), "SQL"),
        (Selection(where="true) UNION ALL (SELECT 1"), "SQL"),
        (Selection(where="x IN (SELECT x FROM read_csv('/etc/passwd'))"), "SQL"),
    ],
)
def test_a_wrong_selection_is_refused_and_nothing_left(
    stars: Path, tmp_path: Path, chosen: Selection, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        export(Asked(catalog=stars, out=tmp_path / "x.fits", selection=chosen), "fits")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_never_touched(stars: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    for out, words in (
        (taken, "exists already"),
        (stars / "x.fits", "inside the published catalog"),
        (stars / "dataset" / "x.fits", "inside the published catalog"),
        (Path("s3:/bucket/x.fits"), "folder of this machine"),
        (taken / "x.fits", "cannot be written"),
    ):
        for form in ("fits", "release"):
            with pytest.raises(InputError, match=words):
                export(Asked(catalog=stars, out=out), form)
    assert taken.read_text() == "mine" and [*tmp_path.iterdir()] == [taken]


def test_a_full_disk_is_a_message_and_leaves_nothing(
    stars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunError, match=r"needs .* bytes, and only"):
        need(tmp_path / "x", 2**62)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "packed", full)
    with pytest.raises(RunError, match="the disk is full"):
        export(Asked(catalog=stars, out=tmp_path / "x.fits"), "fits")
    assert not list(tmp_path.iterdir())


def test_progress_reaches_the_end_and_batches_are_small(stars: Path, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    export(Asked(catalog=stars, out=tmp_path / "x.fits"), "fits", lambda *step: steps.append(step))
    assert ("writing FITS", 300, 300) in steps
    assert steps[-1] == ("checksums", 1, 1)


FIELDS = [
    pa.field("truth", pa.bool_()),
    pa.field("words", pa.string()),
    pa.field("wide", pa.list_(pa.float32(), 2)),
    pa.field("number", pa.int16()),
]


def test_null_booleans_and_lists_have_their_own_cells() -> None:
    values = {
        "truth": [True, False, None],
        "words": ["é", "", None],
        "wide": [[1.0, 2.0], None, [3.0, 4.0]],
        "number": [-32768, None, 5],
    }
    batch = pa.RecordBatch.from_pydict(values, schema=pa.schema(FIELDS))
    stats = {"truth": Stats(known=2), "words": Stats(known=2, width=6), "wide": Stats(known=2)}
    measured = Measured(rows=3, columns=stats | {"number": Stats(known=2, low=-32768, high=5)}, flags={})
    cells = cells_of(FIELDS, measured)
    assert [cell.form for cell in cells] == ["L", "6A", "2E", "I"]
    assert [cell.null for cell in cells] == [None, None, None, 32767]
    made = packed(batch, cells)
    assert made.dtype == row_type(cells) and made.dtype.itemsize == 1 + 6 + 8 + 2
    # A trailing zero byte is no byte for numpy.
    assert made["c0"].tolist() == [b"T", b"F", b""]
    assert made["c1"].tolist() == [b"\\xe9", b" ", b""]
    assert np.array_equal(made["c2"], [[1, 2], [np.nan, np.nan], [3, 4]], equal_nan=True)
    assert made["c3"].tolist() == [-32768, 32767, 5]


@settings(max_examples=50)
@given(st.text(max_size=12))
def test_escaped_text_fits_its_width(text: str) -> None:
    if text.encode(errors="ignore").decode() != text:
        return
    width = len(text.encode()) * (1 if text.isascii() else 3)
    assert len(text.encode("ascii", "backslashreplace")) <= width
    assert ascii_text(text).isascii() and ascii_text(text).isprintable()


def test_units_in_both_notations() -> None:
    words = {
        "km.s**-1": ("km s-1", "km.s-1"),
        "log(cm.s**-2)": ("log(cm s-2)", "[cm.s-2]"),
        "dex": ("dex", "[-]"),
        "": ("", "---"),
        "mas": ("mas", "mas"),
        "pixel": ("pix", "pix"),
        "no such unit": ("no such unit", "no such unit"),
    }
    assert {unit: (fits_unit(unit), cds_unit(unit)) for unit in words} == words
