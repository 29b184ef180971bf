"""The CDS sample: read back by astropy with its ReadMe, it is rows of the catalog."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import ascii as text_tables
from astropy.table import MaskedColumn, Table

from catalogs import open_catalog
from catalogs.export.mrt import _format
from catalogs.export.release import export
from catalogs.export.request import About, Asked, Creator, Selection
from tests.unit.catalog_rows import FIRST_ID
from tests.unit.exports import catalog

ABOUT = About(
    title="Labels, tested $1 Å",
    description="What a test made.",
    licence="CC-BY-4.0",
    keywords=("stars: abundances", "surveys"),
    creators=(Creator(name="Doe, Jane"), Creator(name="Müller, K.")),
)


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return catalog(tmp_path_factory.mktemp("stars"))


@pytest.fixture(scope="module")
def made(stars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("mrt") / "sample"
    export(Asked(catalog=stars, out=out, sample=60, about=ABOUT), "mrt")
    return out


def read(folder: Path) -> Table:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return text_tables.read(str(folder / "sample.dat"), readme=str(folder / "ReadMe"), format="cds")


def test_the_sample_is_rows_of_the_catalog(stars: Path, made: Path) -> None:
    found, rows = read(made), {row["targetid"]: row for row in open_catalog(stars).to_arrow().to_pylist()}
    assert len(found) == 60 and (found["targetid"] >= FIRST_ID).all()
    for row in found:
        wanted = rows[int(row["targetid"])]
        assert abs(row["ra"] - wanted["ra"]) < 1e-8 and row["_healpix_29"] == wanted["_healpix_29"]
        for name in ("teff", "e_teff", "fe_h", "snr", "gaia_source_id", "tile", "flag_bad"):
            same = (
                row[name] is np.ma.masked
                if wanted[name] is None
                else np.isclose(row[name], wanted[name], rtol=5e-6, atol=1e-6)
            )
            assert same, (name, row[name], wanted[name])
    assert [str(found[name].unit) for name in ("teff", "logg", "rv")] == ["K", "dex(cm / s2)", "km / s"]


def test_the_same_rows_are_chosen_again(stars: Path, made: Path, tmp_path: Path) -> None:
    export(Asked(catalog=stars, out=tmp_path / "again", sample=60, about=ABOUT), "mrt")
    assert (tmp_path / "again" / "sample.dat").read_bytes() == (made / "sample.dat").read_bytes()


def test_the_readme_has_no_placeholder_and_short_ascii_lines(made: Path) -> None:
    content = (made / "ReadMe").read_bytes()
    assert content.isascii()
    text = content.decode()
    for words in (
        "Doe, Jane",
        "Muller, K.",
        "Labels, tested $1 A",
        "What a test made.",
        "License: CC-BY-4.0",
    ):
        assert words in text
    assert not re.search(
        r"First author|Publication date|Authors \?|pyreadme|(?<!byte )Description of|Title \?", text
    )
    assert max(map(len, text.splitlines())) <= 84  # [cm.s-2] is wider than the column of units
    assert "bit 0 = NO_RESULT (bad)" in text
    assert "support_chi2" in text.split("File Summary")[0]


def test_few_columns_without_null_or_range(stars: Path, tmp_path: Path) -> None:
    chosen = Selection(columns=("targetid", "object_type", "ra"), where="targetid % 3 = 0")
    export(Asked(catalog=stars, out=tmp_path / "few", selection=chosen, sample=10**6), "mrt")
    found = read(tmp_path / "few")
    assert found.colnames == ["targetid", "object_type", "ra"] and (found["targetid"] % 3 == 0).all()
    assert {"x" * 70, "TGT"} <= {*found["object_type"].compressed()}
    assert "Angstrom" not in (tmp_path / "few" / "ReadMe").read_text()


@pytest.mark.parametrize(
    ("values", "digits", "expected"),
    [
        ([4000.0, 6999.5], 7, "F9.3"),
        ([0.05, 0.05, 512.0], 7, "F11.6"),
        ([1e-6, 2e-6], 7, "E14.7"),
        ([1.0, 1e12], 7, "E14.7"),
        ([359.9, 0.1], 12, "F14.9"),
        ([0.0], 7, "E14.7"),
    ],
)
def test_formats_keep_the_digits_of_usual_values(values: list[float], digits: int, expected: str) -> None:
    assert _format(MaskedColumn(values), digits) == expected
