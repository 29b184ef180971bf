"""Gaia RVS: the same spectra out of every serialisation; what is wrong is said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.errors import PlanError, ShardCorrupt, ShardError, ShardUnavailable
from engine.surveys.gaia import GAIA_RVS
from engine.surveys.gaia.rvs import RVS
from engine.surveys.star_files import Files
from engine.surveys.store import Folder
from tests.unit.gaia_files import (
    FORMS,
    IDS,
    array,
    csv_json,
    csv_tuples,
    ecsv,
    fits_fixed,
    fits_variable,
    long,
    put,
    read_all,
    rvs_columns,
    spec_of,
    votable_text,
)

WAVE_NM = RVS.grid.wave_P / 10


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path / "cache"))


def files() -> Files:
    return GAIA_RVS.read.args[2]  # type: ignore[attr-defined]


def read_one(path: Path, rows: int = 3) -> dict[str, np.ndarray]:
    spec, store = spec_of(GAIA_RVS, path.parent), Folder(path.parent)
    count = files().count
    assert callable(count)
    assert count(spec, store, path.name) == rows
    return dict(files().read(spec, store, path.name, 0, rows))


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("shape", ["arrays", "long"])
@pytest.mark.parametrize("form", FORMS)
def test_every_serialisation_gives_the_same(tmp_path: Path, form: str, shape: str, packed: str) -> None:
    columns = rvs_columns()
    put(tmp_path, form + packed, FORMS[form](columns if shape == "arrays" else long(columns, WAVE_NM)))
    table = read_all(GAIA_RVS, tmp_path)
    assert table["source_id"].to_pylist() == table["gaia_source_id"].to_pylist() == IDS.tolist()
    assert table["ra"].to_pylist() == columns["ra"].tolist()
    assert set(table["position_source"].to_pylist()) == {"survey"}
    flux, error = columns["flux"].astype(np.float32), columns["flux_error"]
    assert np.array_equal(array(table, "flux_rvs"), flux, equal_nan=True)
    bad = np.isnan(flux) | np.isnan(error)
    assert np.array_equal(array(table, "mask_rvs"), bad)
    assert np.array_equal(array(table, "ivar_rvs"), np.where(bad, 0, 1 / error**2).astype(np.float32))
    assert bad[0, 0]


def test_the_form_is_told_by_content(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", fits_variable(rvs_columns()))
    put(tmp_path, "b.fits", csv_json(rvs_columns()))
    put(tmp_path, "c.csv.gz", b"")
    (tmp_path / "c.csv.gz").write_bytes(votable_text(rvs_columns()))
    assert read_all(GAIA_RVS, tmp_path)["source_id"].to_pylist() == IDS.tolist() * 3


def test_rows_in_the_middle_and_out_of_order(tmp_path: Path) -> None:
    columns = rvs_columns()
    for number, form in enumerate((csv_json, ecsv, fits_variable, votable_text)):
        put(tmp_path, f"{number}.csv.gz", form(columns))
        put(tmp_path, f"{number + 4}.csv", form(long(columns, WAVE_NM)))
    spec = spec_of(GAIA_RVS, tmp_path)
    for name in sorted(path.name for path in tmp_path.glob("*.csv*")):
        for row in (1, 2, 0, 0):
            found = files().read(spec, Folder(tmp_path), name, row, row + 1)
            assert found["source_id"].tolist() == [IDS[row]]
            assert np.array_equal(found["flux_rvs"], columns["flux"][row : row + 1], equal_nan=True)


def test_a_file_named_after_its_source_is_not_opened_for_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = long(rvs_columns(1), WAVE_NM)
    del columns["source_id"]
    name = f"RVS-Gaia DR3 {IDS[0]}.csv"
    put(tmp_path, name, csv_json(columns))
    with monkeypatch.context() as patch:
        patch.setattr(Folder, "open", lambda *_: pytest.fail("it was opened"))
        shards = list(GAIA_RVS.list_shards(spec_of(GAIA_RVS, tmp_path)))
    assert [(shard.path, shard.rows) for shard in shards] == [(name, 1)]
    assert read_all(GAIA_RVS, tmp_path)["source_id"].to_pylist() == [IDS[0]]


@pytest.mark.parametrize("rows", [1, 2])
def test_a_file_named_after_another_source_is_refused(tmp_path: Path, rows: int) -> None:
    path = put(tmp_path, f"RVS-Gaia DR3 {IDS[2]}.csv", csv_json(rvs_columns(rows)))
    with pytest.raises(ShardCorrupt, match=f"{rows} sources.* named after, {IDS[2]}"):
        files().read(spec_of(GAIA_RVS, tmp_path), Folder(tmp_path), path.name, 0, 1)


def test_an_unreadable_named_file_among_others_keeps_its_id(tmp_path: Path) -> None:
    for source in range(100, 104):
        one = {**rvs_columns(1), "source_id": np.array([source])}
        put(tmp_path, f"RVS-Gaia DR3 {source}.csv", csv_json(one))
    put(tmp_path, "RVS-Gaia DR3 102.csv", b"source_id,flux\n102,nothing\n")
    table = read_all(GAIA_RVS, tmp_path)
    assert table["source_id"].to_pylist() == [100, 101, 102, 103]
    problems = table["read_problem"].to_pylist()
    assert [problem is None for problem in problems] == [True, True, False, True]
    assert array(table, "mask_rvs")[2].all()


def test_without_a_position_it_comes_from_the_id(tmp_path: Path) -> None:
    columns = rvs_columns()
    del columns["ra"], columns["dec"]
    put(tmp_path, "a.csv", csv_json(columns))
    assert set(read_all(GAIA_RVS, tmp_path)["position_source"].to_pylist()) == {"source_id"}


def test_files_of_other_products_are_left_alone(tmp_path: Path) -> None:
    for name in ("XP_SAMPLED-Gaia DR3 5.csv", "XpContinuousMeanSpectrum_000000-003111.csv.gz", "_MD5SUM.txt"):
        put(tmp_path, name, b"x")
    with pytest.raises(PlanError, match=r"no RVS table, such as RvsMeanSpectrum"):
        GAIA_RVS.list_shards(spec_of(GAIA_RVS, tmp_path))


def _with(**changed: np.ndarray) -> bytes:
    return csv_json({**rvs_columns(), **changed})


def _without(*names: str) -> bytes:
    return csv_json({name: column for name, column in rvs_columns().items() if name not in names})


def _waves(wave_nm: np.ndarray) -> bytes:
    return csv_json(long(rvs_columns(), wave_nm))


def _replaced(old: bytes, new: bytes, make: Callable[..., bytes] = csv_json) -> bytes:
    whole = make(rvs_columns())
    assert old in whole
    return whole.replace(old, new, 1)


AIR_NM = WAVE_NM / 1.000275
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "begins with b''"),
    "blank": (lambda: b"\n\n  \n", "expected CSV, ECSV, FITS or VOTable"),
    "noise": (lambda: bytes(range(256)) * 99, "expected CSV, ECSV, FITS or VOTable"),
    "zip": (lambda: b"PK\x03\x04" + bytes(99), "unzip the archive"),
    "html": (lambda: b"<!DOCTYPE html><html>", "expected CSV, ECSV, FITS or VOTable"),
    "head only": (lambda: _without().splitlines(keepends=True)[0], "0 rows"),
    "no newline at all": (lambda: b"source_id,flux,flux_error", "0 rows"),
    "no flux": (lambda: _without("flux"), "column flux: missing, expected beside source_id, ra"),
    "no error": (lambda: _without("flux_error"), "column flux_error: missing"),
    "no id": (lambda: _without("source_id"), "column source_id: missing"),
    "an id twice": (lambda: _replaced(b"ra,", b"source_id,"), "each once"),
    "float ids": (lambda: _with(source_id=IDS * 1.5), "source_id|int64"),
    "missing id": (lambda: _replaced(str(IDS[1]).encode(), b""), "column source_id: 1 rows have none"),
    "huge id": (lambda: _replaced(str(IDS[1]).encode(), b"9" * 40), "int64"),
    "text for numbers": (lambda: _replaced(b"[null,", b"[bright,"), "column flux: expected numbers"),
    "no brackets": (lambda: _replaced(b'"[null', b'"null'), "between brackets|no rows|rows"),
    "ragged": (lambda: _replaced(b"[null,", b"[null,1.0,"), "arrays of 2402 numbers, expected 2401"),
    "too short": (lambda: _with(flux=np.ones((3, 2400))), "arrays of 2400 numbers, expected 2401"),
    "nested": (lambda: _replaced(b"[null,", b"[[null],"), "expected numbers"),
    "a field too many": (lambda: _replaced(b"155.375,", b"155.375,3,"), "expected rows of 5 columns"),
    "air": (lambda: _waves(AIR_NM), "845.767 to 869.761, expected 846 to 870 nm in vacuum"),
    "Angstrom": (lambda: _waves(10 * WAVE_NM), "8460 to 8700, expected 846 to 870 nm"),
    "descending": (lambda: _waves(WAVE_NM[::-1]), "expected 846 to 870 nm"),
    "wavelengths missing": (lambda: _waves(np.full(2401, np.nan)), "expected 846 to 870 nm"),
    "half a source": (lambda: b"\n".join(_waves(WAVE_NM).split(b"\n")[:3000]), "2999 rows, expected"),
    "mixed sources": (
        lambda: csv_json({**long(rvs_columns(), WAVE_NM), "source_id": np.arange(7203)}),
        "changes within 2401 rows",
    ),
    "flux in Jansky": (lambda: ecsv(rvs_columns(), {"flux": "Jy"}), "in 'Jy', expected ''"),
    "no unit at all": (lambda: ecsv(rvs_columns(), {"flux": "brightnesses"}), "in 'brightnesses'"),
    "broken ECSV header": (lambda: b"# %ECSV 1.0\n# ---\n# {[\n" + _without(), "header of an ECSV table"),
    "ECSV by tabs": (lambda: b"# %ECSV 1.0\n# ---\n# {delimiter: '\\t', datatype: []}\na\tb\n", "delimiter"),
    "FITS cut": (lambda: fits_variable(rvs_columns())[:9000], "truncated"),
    "FITS without a table": (lambda: fits_variable(rvs_columns())[:2880], "no binary table"),
    "FITS with 10^8 columns": (
        lambda: _replaced(b"TFIELDS =                    5", b"TFIELDS =            100000000", fits_fixed),
        "TFIELDS = 100000000, expected 1 to 999",
    ),
    "FITS of text": (lambda: _replaced(b"'2401D   '", b"'19208A  '", fits_fixed), "column flux|rows"),
    "FITS short": (lambda: fits_fixed({**rvs_columns(), "flux": np.ones((3, 9))}), "of 9 numbers"),
    "FITS float ids": (lambda: fits_fixed({**rvs_columns(), "source_id": IDS * 1.0}), "column source_id: "),
    "VOTable cut": (lambda: votable_text(rvs_columns())[:5000], "expected a VOTable"),
    "VOTable without a table": (lambda: b"<?xml version='1.0'?><VOTABLE/>", "expected a VOTable"),
}  # fmt: skip


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_is_said(tmp_path: Path, what: str, packed: str) -> None:
    make, expected = BAD[what]
    path = put(tmp_path, f"bad.csv{packed}", make())
    with pytest.raises(ShardCorrupt, match=expected):
        read_one(path)


@pytest.mark.parametrize("form", ["json.csv", "variable.fits", "text.xml"])
def test_gzip_that_ends_early(tmp_path: Path, form: str) -> None:
    path = put(tmp_path, "a.csv.gz", FORMS[form](rvs_columns()))
    whole = path.read_bytes()
    for size in (len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ShardCorrupt, match="broken gzip"):
            read_one(path)
    path.write_bytes(whole[:-8] + bytes(8))
    with pytest.raises(ShardCorrupt, match="broken gzip"):
        read_one(path)


def test_a_missing_file_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(ShardUnavailable):
        files().read(spec_of(GAIA_RVS, tmp_path), Folder(tmp_path), "gone.csv", 0, 1)


@pytest.mark.parametrize("form", FORMS)
def test_rows_that_are_not_there(tmp_path: Path, form: str) -> None:
    put(tmp_path, form, FORMS[form](rvs_columns()))
    with pytest.raises(ShardError, match="expected rows 2 to 5"):
        files().read(spec_of(GAIA_RVS, tmp_path), Folder(tmp_path), form, 2, 5)


def test_infinite_pixels_and_errors_of_zero_are_bad(tmp_path: Path) -> None:
    columns = rvs_columns()
    columns["flux"][1, 5], columns["flux_error"][1, 6:9] = np.inf, (0, -1, 1e-30)
    found = read_one(put(tmp_path, "a.csv", csv_tuples(columns)))
    assert found["mask_rvs"][1, 4:10].tolist() == [0, 1, 1, 1, 1, 0]
    assert not found["ivar_rvs"][1, 5:9].any()
