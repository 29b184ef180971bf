"""Spectra and tables for the tests of engine/auxiliary, made in code."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.columns import schema, spectra_columns
from engine.spec import Auxiliary
from engine.types import Arm, Column, Grid

KEYS = (
    Column(name="targetid", type=pa.int64(), description="Target"),
    Column(name="obs_id", type=pa.string(), description="Observation"),
)
COLUMNS = spectra_columns(KEYS, (Arm(name="b", grid=Grid(start=4000, step=1, pixels=3)),))

# Beyond 2**53, and neighbours that float64 cannot tell apart.
BIG = 5853498713190525696


def spectra(ids: Sequence[int | None], **given: Sequence[Any]) -> pa.Table:
    """A batch with these Gaia ids; other columns are NULL, or as given, and row_in_shard counts."""
    rows = len(ids)
    values = {"gaia_source_id": ids, "row_in_shard": range(rows)} | given
    arrays = [
        pa.array(list(values[field.name]), field.type) if field.name in values else pa.nulls(rows, field.type)
        for field in schema(COLUMNS)
    ]
    return pa.table(arrays, schema=schema(COLUMNS))


def asked(path: Path, **change: Any) -> Auxiliary:
    """A spec with key source_id for a table that gives G as g, unless something else is asked for."""
    plain = {"path": path, "key": "source_id", "columns": {"phot_g_mean_mag": "g"}}
    return Auxiliary.model_validate(plain | change)


def parquet(path: Path, columns: Mapping[str, Any]) -> Path:
    """A Parquet file with these columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path)
    return path


def folder(path: Path, columns: Mapping[str, Any]) -> Path:
    """A folder with the rows spread over two Parquet files."""
    whole = pa.table(dict(columns))
    (path / "deeper").mkdir(parents=True)
    pq.write_table(whole.slice(0, 1), path / "a.parquet")
    pq.write_table(whole.slice(1), path / "deeper" / "b.parquet")
    return path


def csv_file(path: Path, columns: Mapping[str, Any], above: str = "") -> Path:
    """A CSV file as the Gaia archive writes them: null for NULL, arrays in brackets."""
    rows = zip(*(pa.array(values).to_pylist() for values in columns.values()), strict=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(above)
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(["null" if value is None else value for value in row] for row in rows)
    return path


def fits(path: Path, columns: Mapping[str, Any]) -> Path:
    """A FITS binary table; NULL is NaN, the empty array, or a TNULL of -1."""
    names, arrays, nulls = list(columns), [], {}
    for number, values in enumerate(columns.values(), start=1):
        array = pa.array(values)
        if pa.types.is_list(array.type):
            rows = [np.array(row or [], float) for row in array.to_pylist()]
            # numpy would make one array of rows that are all of one length.
            arrays.append(np.array([*rows, 0], object)[:-1])
        elif pa.types.is_integer(array.type):
            arrays.append(array.fill_null(-1).to_numpy())
            nulls[f"TNULL{number}"] = -1
        elif pa.types.is_string(array.type):
            arrays.append(array.to_numpy(zero_copy_only=False).astype("S"))
        else:
            arrays.append(array.fill_null(np.nan).to_numpy())
    with fitsio.FITS(str(path), "rw", clobber=True) as file:
        file.write(arrays, names=names)
        for name, value in nulls.items():
            file[1].write_key(name, value)
    return path
