"""Radial velocities from each source, joined by the full key where it is known."""

import gzip
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import PlanError, ShardCorrupt, ShardUnavailable
from engine.surveys.desi import DESI
from tests.unit.desi_files import DesiFile, read_all, survey_spec, write_redrock

pytestmark = pytest.mark.usefixtures("cache")

C = 299792.458
FIRST = 39633297352951412
NAME = "coadd-main-dark-7.fits"


def rvtab(path: Path, **columns: Any) -> dict[str, Any]:
    """An RVTAB file, and the section of a spec that names it."""
    fitsio.write(str(path), np.zeros(1, [("X", "f4")]), extname="OTHER", clobber=True)
    fitsio.write(str(path), {name: np.asarray(values) for name, values in columns.items()}, extname="RVTAB")
    return {"from": "rvtab", "path": path}


def velocities(root: Path, rv: dict[str, Any]) -> dict[str, list[Any]]:
    return read_all(root, rv=rv).select(["rv", "rv_err", "rv_source", "rv_warn", "rv_check"]).to_pydict()


def close(ours: list[float | None], theirs: list[float | None]) -> bool:
    return [v is None for v in ours] == [v is None for v in theirs] and all(
        a is None or b is None or abs(a - b) < 1e-5 * max(1, abs(b))
        for a, b in zip(ours, theirs, strict=True)
    )


def test_none(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / NAME)
    assert velocities(tmp_path, {"from": "none"}) == {
        name: [None] * 4 for name in ("rv", "rv_err", "rv_source", "rv_warn", "rv_check")
    }


def test_redrock(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / NAME)
    write_redrock(
        tmp_path / "redrock-main-dark-7.fits",
        FIRST + np.array([3, 2, 1]),
        Z=[np.nan, 0.3, -2e-4],
        ZERR=[1e-5, 1e-5, 2e-5],
        ZWARN=[0, 0, 4],
    )
    found = velocities(tmp_path, {"from": "redrock"})
    assert close(found["rv"], [None, -2e-4 * C, None, None])
    assert close(found["rv_err"], [None, 2e-5 * C, None, None])
    assert found["rv_source"] == [None, "redrock", None, None]
    assert found["rv_warn"] == [None, 4, None, None]
    assert found["rv_check"] == [None] * 4


def test_a_missing_redrock_file_gives_null(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / NAME)
    assert velocities(tmp_path, {"from": "redrock"})["rv"] == [None] * 4


def test_a_broken_redrock_file_is_not_silent(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / NAME)
    path = tmp_path / "redrock-main-dark-7.fits"
    path.write_bytes(b"nonsense")
    with pytest.raises(ShardCorrupt, match=r"redrock-main-dark-7\.fits: not a FITS file"):
        velocities(tmp_path, {"from": "redrock"})
    fitsio.write(str(path), {"TARGETID": np.arange(3)}, extname="REDSHIFTS", clobber=True)
    with pytest.raises(ShardCorrupt, match="no column SPECTYPE, Z, ZERR, ZWARN"):
        velocities(tmp_path, {"from": "redrock"})
    path.unlink()
    path.mkdir()
    with pytest.raises(ShardUnavailable):
        velocities(tmp_path, {"from": "redrock"})


def test_redrock_beside_gzipped_spectra(tmp_path: Path) -> None:
    plain = DesiFile().write(tmp_path / NAME)
    (tmp_path / f"{NAME}.gz").write_bytes(gzip.compress(plain.read_bytes(), 1))
    plain.unlink()
    beside = write_redrock(tmp_path / "redrock-main-dark-7.fits", FIRST + np.arange(4))
    assert velocities(tmp_path, {"from": "redrock"})["rv_source"] == ["redrock"] * 4
    beside.with_name(f"{beside.name}.gz").write_bytes(gzip.compress(beside.read_bytes(), 1))
    beside.unlink()
    assert velocities(tmp_path, {"from": "redrock"})["rv_source"] == ["redrock"] * 4


def test_rvtab_joins_on_the_full_key(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / NAME)
    rv = rvtab(
        tmp_path / "mwsall.fits",
        TARGETID=np.array([FIRST, FIRST, FIRST, FIRST + 1, FIRST + 2, FIRST + 3]),
        VRAD=[1.0, 2.0, 3.0, 4.0, np.nan, 6.0],
        VRAD_ERR=[0.1, 0.2, 0.3, 0.4, 0.5, np.nan],
        RVS_WARN=np.array([0, 8, 0, 0, 0, 1]),
        RR_Z=[1e-4, 2e-4, 3e-4, np.nan, 5e-4, 6e-4],
        SURVEY=np.array(["sv3", "main", "main", "main", "main", "main"], "S7"),
        PROGRAM=np.array(["dark", "dark", "dark", "bright", "dark", "dark"], "S6"),
        HEALPIX=np.array([7, 7, 8, 7, 7, 7]),
    )
    found = velocities(tmp_path, rv)
    assert close(found["rv"], [2.0, None, None, 6.0])
    assert close(found["rv_err"], [0.2, None, None, None])
    assert found["rv_source"] == ["rvtab", None, None, "rvtab"]
    assert found["rv_warn"] == [8, None, None, 1]
    assert close(found["rv_check"], [2e-4 * C, None, 5e-4 * C, 6e-4 * C])


def test_rvtab_without_keys_joins_on_targetid(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / NAME)
    found = velocities(
        tmp_path, rvtab(tmp_path / "mwsall.fits", TARGETID=FIRST + np.arange(2), VRAD=[1.0, 2.0])
    )
    assert close(found["rv"], [1.0, 2.0, None, None])
    assert found["rv_err"] == found["rv_warn"] == found["rv_check"] == [None] * 4


def test_a_key_that_the_spectra_lack_does_not_count(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / "coadd-4-80613-thru20210324.fits")
    rv = rvtab(
        tmp_path / "mwsall.fits",
        TARGETID=FIRST + np.array([0, 0, 9]),
        VRAD=[1.0, 2.0, 3.0],
        SURVEY=np.array(["main", "sv1", "main"], "S4"),
        HEALPIX=np.array([7, 8, 9]),
    )
    assert close(velocities(tmp_path, rv)["rv"], [1.0, None, None, None])


@pytest.mark.parametrize("kind", [pa.string(), pa.null()])
def test_a_key_that_is_null_everywhere_fits_every_star(tmp_path: Path, kind: pa.DataType) -> None:
    DesiFile().write(tmp_path / NAME)
    columns = {"targetid": [FIRST + 1, FIRST], "rv": [2.0, 1.0], "survey": pa.nulls(2, kind)}
    pq.write_table(pa.table(columns), tmp_path / "rv.parquet")
    found = velocities(tmp_path, {"from": "table", "path": tmp_path / "rv.parquet"})
    assert close(found["rv"], [1.0, 2.0, None, None])


@pytest.mark.parametrize("kind", ["dictionary", "large_string"])
def test_a_text_key_may_be_stored_in_any_text_type(tmp_path: Path, kind: str) -> None:
    DesiFile().write(tmp_path / NAME)
    survey = pa.array(["sv1", "main", None])
    survey = survey.dictionary_encode() if kind == "dictionary" else survey.cast(pa.large_string())
    columns = {"targetid": [FIRST, FIRST, FIRST + 1], "rv": [1.0, 2.0, 3.0], "survey": survey}
    pq.write_table(pa.table(columns), tmp_path / "rv.parquet")
    found = velocities(tmp_path, {"from": "table", "path": tmp_path / "rv.parquet"})
    assert close(found["rv"], [2.0, 3.0, None, None])


def test_unsigned_ids_stay_exact(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / NAME)
    columns = {
        "targetid": pa.array([FIRST + 1, FIRST + 3], pa.uint64()),
        "rv": pa.array([10, 30], pa.int16()),
    }
    pq.write_table(pa.table(columns), tmp_path / "rv.parquet")
    found = velocities(tmp_path, {"from": "table", "path": tmp_path / "rv.parquet"})
    assert close(found["rv"], [None, 10.0, None, 30.0])


TABLE = {"targetid": [FIRST], "rv": [1.0], "rv_err": [0.1], "survey": ["main"], "program": ["dark"]}
UNFIT = {
    "targetid": ([str(FIRST)], "text; store it as int64"),
    "rv": (["1.0"], "text; store it as float64"),
    "rv_err": (["0.1"], "text; store it as float64"),
    "survey": ([1.0], "float64; store it as text"),
    "program": ([True], "bool; store it as text"),
}


@pytest.mark.parametrize("column", UNFIT)
def test_a_column_of_another_type_fails_in_the_plan(tmp_path: Path, column: str) -> None:
    DesiFile().write(tmp_path / NAME)
    path, (values, message) = tmp_path / "rv.parquet", UNFIT[column]
    rv = {"from": "table", "path": path}
    pq.write_table(pa.table(TABLE), path)
    assert close(velocities(tmp_path, rv)["rv"], [1.0, None, None, None])
    pq.write_table(pa.table(TABLE | {column: values}), path)
    with pytest.raises(PlanError, match=rf"survey\.rv\.path: {column} in .*rv\.parquet is {message}"):
        DESI.list_shards(survey_spec(tmp_path, rv=rv))


RVTAB = {"TARGETID": [FIRST], "VRAD": [1.0], "VRAD_ERR": [0.1], "RVS_WARN": [0], "RR_Z": [0.0]}
UNFIT_RVTAB = {
    "TARGETID": (["1"], "text; store it as int64"),
    "VRAD": (["1"], "text; store it as float64"),
    "VRAD_ERR": ([[0.1, 0.2]], "store it as float64"),
    "RVS_WARN": ([0.5], "float64; store it as int64"),
    "RR_Z": (["0"], "text; store it as float64"),
    "SURVEY": ([1], "int64; store it as text"),
    "PROGRAM": ([1], "int64; store it as text"),
    "HEALPIX": (["7"], "text; store it as int64"),
}


@pytest.mark.parametrize("column", UNFIT_RVTAB)
def test_an_rvtab_column_of_another_type_fails_in_the_plan(tmp_path: Path, column: str) -> None:
    DesiFile().write(tmp_path / NAME)
    values, message = UNFIT_RVTAB[column]
    array = np.asarray(values, "S4" if isinstance(values[0], str) else None)
    rv = rvtab(tmp_path / "x.fits", **(RVTAB | {column: array}))
    with pytest.raises(PlanError, match=rf"survey\.rv\.path: {column} in .*x\.fits is .*{message}"):
        DESI.list_shards(survey_spec(tmp_path, rv=rv))


def test_a_table_without_rows_fails_in_the_plan(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / NAME)
    table, image = tmp_path / "rv.parquet", tmp_path / "image.fits"
    pq.write_table(pa.table(TABLE).slice(0, 0), table)
    fitsio.write(
        str(tmp_path / "rv.fits"), np.zeros(0, [("TARGETID", "i8"), ("VRAD", "f8")]), extname="RVTAB"
    )
    fitsio.write(str(image), np.zeros((2, 2)), extname="RVTAB")
    for rv, message in (
        ({"from": "table", "path": table}, "has no rows; fill it"),
        ({"from": "rvtab", "path": tmp_path / "rv.fits"}, "has no rows; fill it"),
        ({"from": "rvtab", "path": image}, "is not a rvtab of velocities: HDU RVTAB is an image"),
    ):
        with pytest.raises(PlanError, match=message):
            DESI.list_shards(survey_spec(tmp_path, rv=rv))


def test_table_with_a_second_opinion_of_redrock(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / NAME)
    write_redrock(tmp_path / "redrock-main-dark-7.fits", FIRST + np.arange(2), Z=[1e-4, 0.5])
    table = pa.table(
        {
            "targetid": [FIRST + 2, FIRST, FIRST, FIRST + 1],
            "survey": ["main", "sv1", "main", "main"],
            "rv": [30.0, -1.0, 10.0, None],
            "rv_err": pa.array([None, 1.0, 0.5, 1.0], pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "rv.parquet")
    found = velocities(tmp_path, {"from": "table", "path": tmp_path / "rv.parquet"})
    assert close(found["rv"], [10.0, None, 30.0, None])
    assert close(found["rv_err"], [0.5, None, None, None])
    assert found["rv_source"] == ["table", None, "table", None]
    assert close(found["rv_check"], [1e-4 * C, 0.5 * C, None, None])


def test_files_that_cannot_be_used_fail_in_the_plan(tmp_path: Path) -> None:
    DesiFile().write(tmp_path / NAME)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"targetid": [1], "vrad": [1.0]}), other)
    for rv, message in (
        ({"from": "rvtab"}, "needs a file"),
        ({"from": "table", "path": tmp_path / "gone.parquet"}, "needs a file"),
        ({"from": "table", "path": other}, "no column rv"),
        ({"from": "rvtab", "path": other}, "is not a rvtab"),
        (rvtab(tmp_path / "x.fits", TARGETID=np.arange(2)), "no column VRAD"),
        (rvtab(tmp_path / "y.fits", TARGETID=np.arange(2.0), VRAD=np.arange(2.0)), "store it as int64"),
    ):
        with pytest.raises(PlanError, match=message):
            DESI.list_shards(survey_spec(tmp_path, rv=rv))


def test_a_table_with_a_null_id_is_refused_since_it_would_blur_all_ids(tmp_path: Path) -> None:
    """As float64, ids beyond 2**53 become those of their neighbours, and stars get others' velocities."""
    DesiFile(rows=3).write(tmp_path / NAME)
    listed = tmp_path / "rv.parquet"
    pq.write_table(pa.table({"targetid": pa.array([None, FIRST], pa.int64()), "rv": [5.0, 5.0]}), listed)
    with pytest.raises(PlanError, match=r"1 rows .* have no targetid"):
        read_all(tmp_path, rv={"from": "table", "path": listed})
