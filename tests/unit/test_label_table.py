"""A label table is joined and learnt from as it is meant, or refused with the remedy."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.errors import PlanError
from engine.surveys import SURVEYS
from engine.train.labels import Labels, read_labels
from engine.train.spec import LabelTable

IDS = [2**53 + 1, 2**53 + 3, 7]


def read(folder: Path, table: pa.Table, **changes: Any) -> Labels:
    pq.write_table(table, folder / "labels.parquet")
    plain = {
        "path": folder / "labels.parquet",
        "key": ["targetid"],
        "names": ["teff"],
        "error_floor": {"teff": 50.0},
    }
    return read_labels(LabelTable.model_validate(plain | changes), SURVEYS["desi"])


def test_numbers_of_any_kind_are_labels_and_odd_ones_are_missing(tmp_path: Path) -> None:
    teff = pa.array([5000, -9999, None], pa.int64())
    e_teff = pa.array([30.0, 10.0, np.nan])
    found = read(tmp_path, pa.table({"targetid": IDS, "teff": teff, "e_teff": e_teff}))
    np.testing.assert_array_equal(found.value_NL[:, 0], np.array([5000, np.nan, np.nan], np.float32))
    np.testing.assert_array_equal(found.error_NL[:, 0], np.array([30, 10, 0], np.float32))
    spectra = pa.table({"targetid": [7, 2**53 + 1, 2**53 + 2]})
    assert found.rows(spectra, ("targetid",)).tolist() == [2, 0, -1]


def test_a_row_without_any_id_belongs_to_no_spectrum(tmp_path: Path) -> None:
    key = pa.array([5, None], pa.int64())
    found = read(tmp_path, pa.table({"gaia_source_id": key, "teff": [5e3, 6e3]}), key=["gaia_source_id"])
    assert found.rows(pa.table({"gaia_source_id": key}), ("gaia_source_id",)).tolist() == [0, -1]


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        (
            {"targetid": [1.0, 2.0, 3.0]},
            {},
            "targetid of .* is double, desi has it as int64: store it as int64",
        ),
        ({"targetid": ["1", "2", "3"]}, {}, "targetid of .* is string"),
        ({"survey": [b"main"] * 3}, {"key": ["survey", "targetid"]}, "survey of .* store it as string"),
        ({"targetid": [4, 4, 5]}, {}, r"1 rows repeat a key, such as \(4,\); keep one row of each"),
        ({"targetid": pa.array([], pa.int64()), "teff": pa.array([], pa.float32())}, {}, "has no rows"),
        ({"teff": ["hot", "cold", "5000"]}, {}, "column teff is string, not numbers"),
        ({"teff": ["5000", "5100", "5200"]}, {}, "column teff is string, not numbers"),
        ({"teff": [True, False, True]}, {}, "column teff is bool, not numbers"),
        ({"e_teff": ["1", "2", "3"]}, {}, "column e_teff is string, not numbers"),
        ({"e_teff": [1.0, 0.0, 2.0]}, {"error_floor": {}}, "errors that are zero"),
        ({}, {"names": ["logg"], "error_floor": {}}, "no column logg; it has targetid, teff"),
        ({}, {"key": ["starid"]}, "desi has no column starid; it has"),
    ],
)
def test_a_table_that_cannot_teach_is_refused(
    tmp_path: Path, columns: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        read(tmp_path, pa.table({"targetid": IDS, "teff": [5e3, 6e3, 7e3]} | columns), **changes)


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    columns = [pa.array(IDS), pa.array([5e3, 6e3, 7e3]), pa.array([1.0, 2.0, 3.0])]
    with pytest.raises(PlanError, match="has column teff twice; rename one"):
        read(tmp_path, pa.Table.from_arrays(columns, names=["targetid", "teff", "teff"]))


def test_what_is_no_parquet_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.parquet", Path(__file__)):
        with pytest.raises(PlanError, match=r"labels\.path.*cannot be read"):
            read(tmp_path, pa.table({"targetid": IDS, "teff": [5e3] * 3}), path=path)
