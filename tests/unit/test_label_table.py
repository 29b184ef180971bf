"""A label table is joined and learnt from as it is meant, or refused with the remedy."""

import gzip
from pathlib import Path
from typing import Any

import lsdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table as AstropyTable
from pydantic import ValidationError

from engine.errors import PlanError
from engine.surveys import SURVEYS
from engine.train.labels import Labels, Matched, read_labels
from engine.train.spec import LabelTable

IDS = [2**53 + 1, 2**53 + 3, 7]
PLAIN: dict[str, Any] = {"key": ["targetid"], "names": ["teff"], "error_floor": {"teff": 50.0}}


def spec(path: Path, **changes: Any) -> LabelTable:
    return LabelTable.model_validate(PLAIN | {"path": path} | changes)


def read(folder: Path, table: pa.Table, **changes: Any) -> Labels:
    pq.write_table(table, folder / "labels.parquet")
    return read_labels(spec(folder / "labels.parquet", **changes), SURVEYS["desi"])


def match(labels: Labels, **keys: list[Any]) -> Matched:
    columns = {
        name: pa.array(values, pa.int64() if name != "survey" else None) for name, values in keys.items()
    }
    return labels.match(pa.table(columns), [""] * len(next(iter(keys.values()))))


def test_numbers_of_any_kind_are_labels_and_odd_ones_are_missing(tmp_path: Path) -> None:
    teff = pa.array([5000, -9999, None], pa.int64())
    e_teff = pa.array([30.0, 10.0, np.nan])
    found = read(tmp_path, pa.table({"targetid": IDS, "teff": teff, "e_teff": e_teff}))
    matched = match(found, targetid=[*IDS, 2**53 + 2])
    np.testing.assert_array_equal(
        matched.label_NL[:, 0], np.array([5000, np.nan, np.nan, np.nan], np.float32)
    )
    np.testing.assert_array_equal(matched.error_NL[:, 0], np.array([30, 10, 0, 0], np.float32))
    assert matched.there_N.tolist() == [True, False, False, False]
    assert found.about.labels["teff"] == {"known": 1, "errors": 1, "unusable": 0}


def test_a_row_without_any_id_belongs_to_no_spectrum(tmp_path: Path) -> None:
    key = pa.array([5, None], pa.int64())
    found = read(tmp_path, pa.table({"gaia_source_id": key, "teff": [5e3, 6e3]}), key=["gaia_source_id"])
    assert match(found, gaia_source_id=[5, None]).label_NL[:, 0].tolist() == pytest.approx(
        [5e3, np.nan], nan_ok=True
    )
    assert found.about.keyless == 1


def test_several_columns_join_together_and_a_part_of_a_key_may_be_missing(tmp_path: Path) -> None:
    table = pa.table({"survey": ["main", None, "sv1"], "TARGETID": [1, 1, 2], "teff": [5e3, 6e3, 7e3]})
    found = read(tmp_path, table, key=["survey", "targetid"], columns={"targetid": "TARGETID"})
    labels = match(found, survey=["sv1", None, "main", "main"], targetid=[2, 1, 1, 2]).label_NL[:, 0]
    assert labels.tolist() == pytest.approx([7e3, 6e3, 5e3, np.nan], nan_ok=True)


def test_columns_are_renamed_computed_and_hidden_by_flags(tmp_path: Path) -> None:
    table = pa.table(
        {
            "targetid": [1, 2, 3, 4],
            "MG_FE": [0.1, 0.2, -9999.99, 0.3],
            "FE_H": [-1.0, -2.0, 0.0, 99.0],
            "[Fe/H] err": [0.1, 0.2, 0.3, 0.4],
            "FLAG": [0, 4, 0, 2],
        }
    )
    columns = {"mg_h": "MG_FE + FE_H", "fe_h": "FE_H", "e_fe_h": "[Fe/H] err", "e_mg_h": "sqrt(0.01)"}
    columns["e_mg_h"] = "FE_H * 0 + 0.1"
    found = read(
        tmp_path,
        table,
        names=["mg_h", "fe_h"],
        columns=columns,
        flagged={"fe_h": "FLAG & 0b100", "mg_h": "FLAG"},
        missing=[99.0],
        error_floor={},
    )
    matched = match(found, targetid=[1, 2, 3, 4])
    nan = np.nan
    np.testing.assert_allclose(matched.label_NL, [[-0.9, -1], [nan, nan], [nan, 0], [nan, nan]], rtol=1e-6)
    np.testing.assert_allclose(matched.error_NL[0], [0.1, 0.1])
    assert matched.known_NL.tolist() == [[True, True], [False, False], [False, True], [False, False]]


def test_what_another_pipeline_says_is_of_the_tables_own_columns_and_no_label(tmp_path: Path) -> None:
    """A column of the label's own name is the table's and not the label; flags are the label's."""
    table = pa.table(
        {
            "targetid": [1, 2, 3, 4],
            "TRUE": [5e3, 6e3, 7e3, None],
            "teff": [5100.0, -9999.0, np.nan, 8e3],
            "FLAG": [1, 0, 0, 0],
        }
    )
    changes = {"columns": {"teff": "TRUE"}, "flagged": {"teff": "FLAG"}}
    found = read(tmp_path, table, reference={"teff": "teff + 1"}, **changes)
    matched = match(found, targetid=[1, 2, 3, 4, 5])
    assert matched.reference_NL is not None
    np.testing.assert_array_equal(matched.reference_NL[:, 0], [5101, np.nan, np.nan, 8001, np.nan])
    np.testing.assert_array_equal(matched.label_NL[:, 0], [np.nan, 6e3, 7e3, np.nan, np.nan])
    assert matched.there_N.tolist() == [False, True, True, False, False]
    assert match(read(tmp_path, table, **changes), targetid=[1]).reference_NL is None


def test_a_spec_without_a_reference_asks_for_what_it_did_before_there_were_any() -> None:
    plain = spec(Path("labels.parquet"))
    assert not {"reference", "reference_name", "path", "error_floor"} & plain.content().keys()
    named = spec(Path("labels.parquet"), reference={"teff": "RVS"}, reference_name="RVS pipeline")
    assert named.content() == plain.content() | {"reference": {"teff": "RVS"}}


def test_fits_csv_and_a_folder_say_the_same(tmp_path: Path) -> None:
    table = pa.table(
        {"targetid": [9, 3], "teff": [5000.5, 6000.0], "e_teff": [20.0, 30.0], "name": ["a", "b"]}
    )
    pandas = table.to_pandas()
    AstropyTable.from_pandas(pandas).write(tmp_path / "t.fits")
    (tmp_path / "t.fits.gz").write_bytes(gzip.compress((tmp_path / "t.fits").read_bytes()))
    (tmp_path / "t.csv").write_text(
        "# ECSV\ntargetid,teff,e_teff,name\n9,5000.5,20,a\n3,6000,30,b\n5,n/a,,c\n"
    )
    hats = tmp_path / "hats" / "dataset"
    (hats / "Norder=0").mkdir(parents=True)
    pq.write_table(table, hats / "Norder=0" / "Npix=1.parquet")
    pq.write_table(table.slice(0, 1), hats / "data_thumbnail.parquet")
    for name in ("t.fits", "t.fits.gz", "t.csv", "hats"):
        labels = read_labels(spec(tmp_path / name, missing=["n/a"]), SURVEYS["desi"])
        matched = match(labels, targetid=[3, 9, 4])
        np.testing.assert_array_equal(matched.label_NL[:, 0], np.array([6000, 5000.5, np.nan], np.float32))
        np.testing.assert_array_equal(matched.error_NL[:2, 0], [30, 20])


def test_a_hats_catalog_of_lsdb_is_a_table(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    stars = {"targetid": np.arange(600) + 2**55, "teff": random.uniform(4e3, 6e3, 600).astype(np.float32)}
    place = {"ra": random.uniform(0, 360, 600), "dec": random.uniform(-60, 60, 600)}
    catalog = lsdb.from_dataframe(pd.DataFrame(stars | place), catalog_name="stars", partition_rows=200)
    catalog.write_catalog(str(tmp_path / "hats"))
    labels = read_labels(spec(tmp_path / "hats"), SURVEYS["desi"])
    assert labels.about.rows == 600
    matched = match(labels, targetid=stars["targetid"].tolist())
    np.testing.assert_array_equal(matched.label_NL[:, 0], stars["teff"])


def test_of_repeated_rows_the_best_is_taken_where_the_table_tells_which(tmp_path: Path) -> None:
    table = pa.table(
        {"targetid": [1, 1, 1, 2], "teff": [1e3, 2e3, 3e3, 4e3], "SNR": [5.0, 50.0, np.nan, 1.0]}
    )
    found = read(tmp_path, table, best="SNR")
    assert match(found, targetid=[1, 2]).label_NL[:, 0].tolist() == [2e3, 4e3]
    assert (found.about.rows, found.about.repeated) == (4, 2)


@pytest.mark.parametrize(("needs", "errors"), [(True, [10.0, np.nan]), (False, [10.0, 0.0])])
def test_errors_are_asked_for_where_the_loss_needs_them(
    tmp_path: Path, needs: bool, errors: list[float]
) -> None:
    table = pa.table({"targetid": [1, 2], "teff": [5e3, 6e3], "e_teff": [10.0, None]})
    pq.write_table(table, tmp_path / "t.parquet")
    labels = read_labels(spec(tmp_path / "t.parquet", error_floor={}), SURVEYS["desi"], needs_errors=needs)
    matched = match(labels, targetid=[1, 2])
    np.testing.assert_array_equal(matched.error_NL[:, 0], errors)
    assert matched.known_NL[:, 0].tolist() == [True, not needs]


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        ({"targetid": [1.0, 2.0, 3.0]}, {}, r"labels.key: targetid in .* is DOUBLE.*store it as int64"),
        ({"targetid": ["1", "2", "3"]}, {}, "targetid in .* is of kind text"),
        ({"survey": [b"main"] * 3}, {"key": ["survey", "targetid"]}, "survey in .* convert it"),
        ({"targetid": [4, 4, 5]}, {}, r"1 rows repeat a key, such as 4; keep one row of each"),
        ({"targetid": [4, 4, 5], "q": ["a"] * 3}, {"best": "q"}, r"labels.best: column q of .*, not numbers"),
        ({"targetid": pa.array([], pa.int64()), "teff": pa.array([], pa.float32())}, {}, "has no rows"),
        ({"teff": ["hot", "cold", "5000"]}, {}, "column teff is string, not numbers"),
        ({"teff": ["5000", "5100", "5200"]}, {}, "column teff is string, not numbers"),
        ({"teff": [True, False, True]}, {}, "column teff is bool, not numbers"),
        ({"teff": [[1.0], [2.0], [3.0]]}, {}, "column teff of .* give one value per row"),
        ({"e_teff": ["1", "2", "3"]}, {}, "column e_teff is string, not numbers"),
        ({"e_teff": [1.0, 0.0, 2.0]}, {"error_floor": {}}, "errors that are zero.* error_floor.teff"),
        ({"e_teff": [1.0, -1.0, 2.0]}, {"error_floor": {}}, "1 of them zero or negative"),
        ({}, {"error_floor": {}}, "0 have an e_teff"),
        ({}, {"names": ["logg"], "error_floor": {}}, "no column logg; it has targetid, teff"),
        ({}, {"columns": {"teff": "TEFF"}}, "no column TEFF; it has targetid, teff"),
        ({}, {"columns": {"teff": "teff +"}}, r"labels\.columns\.teff: 'teff \+' is no expression"),
        ({}, {"columns": {"teff": "5000"}}, "names no column of .*; it has targetid, teff"),
        ({}, {"flagged": {"teff": "FLAG & 1"}}, "no column FLAG; it has targetid, teff"),
        ({}, {"reference": {"teff": "TEFF_RVS"}}, "no column TEFF_RVS; it has targetid, teff"),
        ({}, {"reference": {"teff": "TEFF +"}}, r"labels\.reference\.teff: 'TEFF \+' is no expression"),
        ({}, {"reference": {"teff": "5000"}}, r"labels\.reference\.teff: '5000' names no column of"),
        ({"RVS": ["hot", "cold", ""]}, {"reference": {"teff": "RVS"}}, "column RVS is string, not numbers"),
        ({}, {"key": ["starid"]}, "desi has no column starid; it has"),
    ],
)
def test_a_table_that_cannot_teach_is_refused(
    tmp_path: Path, columns: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        read(tmp_path, pa.table({"targetid": IDS, "teff": [5e3, 6e3, 7e3]} | columns), **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key": None}, "give either key"),
        ({"sky": {"radius_arcsec": 1.0}}, "give either key"),
        ({"key": None, "sky": {"radius_arcsec": 1.0}, "best": "SNR"}, "best counts only with key"),
        ({"key": None, "sky": {"radius_arcsec": 1.0, "pm_ra": "pmra"}}, "give all four, or none"),
        ({"columns": {"snr": "SNR"}}, "choose another name"),
        ({"flagged": {"logg": "FLAG"}}, "flagged of logg: not among names"),
        ({"reference": {"logg": "RVS"}}, "reference of logg: not among names"),
        ({"reference_name": "RVS pipeline"}, "reference_name counts only with reference"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(Path("labels.parquet"), **changes)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    columns = [pa.array(IDS), pa.array([5e3, 6e3, 7e3]), pa.array([1.0, 2.0, 3.0])]
    with pytest.raises(PlanError, match="has column teff twice; rename one"):
        read(tmp_path, pa.Table.from_arrays(columns, names=["targetid", "teff", "teff"]))


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.fits.gz").write_bytes(b"no")
    (tmp_path / "broken.parquet").write_bytes(b"no")
    absent = tmp_path / "absent.parquet"
    for path in (tmp_path / "empty", absent, Path(__file__), *tmp_path.glob("broken*")):
        with pytest.raises(PlanError, match=r"^labels\.path: .*(no \S*parquet|cannot be read)"):
            read_labels(spec(path), SURVEYS["desi"])


def test_a_table_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    for teff in (5e3, 6e3):
        found = read(tmp_path, pa.table({"targetid": [1], "teff": [teff]}))
        assert match(found, targetid=[1]).label_NL[0, 0] == teff
