"""Gaia tables in every serialisation, made in code from the same columns."""

import gzip
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.io.votable import from_table, writeto
from astropy.table import Table

from engine.spec import SurveySpec
from engine.surveys.survey import Survey
from engine.types import Task

Columns = Mapping[str, np.ndarray]
# Beyond 2**53, and odd: as float64 each would become another id.
IDS = np.array([4268620287278693121, 5853498713190525697, 6917528443525529729], np.int64)


def rvs_columns(rows: int = 3) -> dict[str, np.ndarray]:
    """RVS spectra with NaN pixels, the first one included."""
    noise = np.random.default_rng(1)
    flux = np.round(1 - 0.3 * noise.random((rows, 2401)), 6)
    error = np.round(0.01 + 0.01 * noise.random((rows, 2401)), 6)
    flux[0, 0] = error[0, 0] = flux[0, 2399] = error[-1, 7] = np.nan
    places = {"ra": np.linspace(10.5, 300.25, rows), "dec": np.linspace(-60.5, 80.25, rows)}
    return {"source_id": IDS[:rows], **places, "flux": flux, "flux_error": error}


def sampled_columns(rows: int = 3) -> dict[str, np.ndarray]:
    """Sampled XP spectra, in W m-2 nm-1."""
    noise = np.random.default_rng(2)
    flux = 1e-16 * (1 + noise.random((rows, 343)))
    return {"source_id": IDS[:rows], "flux": flux, "flux_error": flux / 50}


def continuous_columns(rows: int = 3) -> dict[str, np.ndarray]:
    """XP coefficients; the second source has no BP, where there is one."""
    noise = np.random.default_rng(3)
    columns: dict[str, np.ndarray] = {"source_id": IDS[:rows]}
    for band in ("bp", "rp"):
        scale = 5000 / (1 + np.arange(55)) ** 2
        columns[f"{band}_standard_deviation"] = 1 + noise.random(rows)
        columns[f"{band}_coefficients"] = scale * (1 + 0.1 * noise.random((rows, 55)))
        columns[f"{band}_coefficient_errors"] = 1 + noise.random((rows, 55))
        columns[f"{band}_coefficient_correlations"] = 0.01 * noise.random((rows, 1485))
    for name in columns:
        if name.startswith("bp") and rows > 1:
            columns[name][1] = np.nan
    return columns


def long(columns: Columns, wave_nm: np.ndarray) -> dict[str, np.ndarray]:
    """The same with a row for each wavelength."""
    rows, pixels = columns["flux"].shape
    spread = {name: np.repeat(column, pixels) for name, column in columns.items() if column.ndim == 1}
    flat = {name: column.reshape(-1) for name, column in columns.items() if column.ndim == 2}
    return {**spread, "wavelength": np.tile(np.round(wave_nm, 4), rows), **flat}


def _json(array: np.ndarray) -> str:
    return json.dumps([None if np.isnan(x) else float(x) for x in array], separators=(",", ":"))


def _tuple(array: np.ndarray) -> str:
    return f"({', '.join('nan' if np.isnan(x) else repr(float(x)) for x in array)})"


def _text(columns: Columns, array: Callable[[np.ndarray], str], null: str) -> str:
    def field(value: Any) -> str:
        if isinstance(value, np.ndarray):
            return null if np.isnan(value).all() else f'"{array(value)}"'
        return str(value) if not np.isnan(value) else null

    rows = (",".join(map(field, row)) for row in zip(*columns.values(), strict=True))
    return "\n".join([",".join(columns), *rows]) + "\n"


def csv_tuples(columns: Columns) -> bytes:
    """As DataLink writes CSV."""
    return _text(columns, _tuple, "").encode()


def csv_json(columns: Columns) -> bytes:
    """As the bulk files write their rows."""
    return _text(columns, _json, "null").encode()


def ecsv(columns: Columns, units: Mapping[str, str] | None = None) -> bytes:
    """As DataLink and the bulk files write ECSV."""
    about = ["%ECSV 1.0", "---", "delimiter: ','", "datatype:"]
    for name, column in columns.items():
        kind = "string" if column.ndim == 2 else str(column.dtype)
        about += ["-", f"  name: {name}", f"  datatype: {kind}"]
        about += [f"  unit: {units[name]}"] if units and name in units else []
    return "".join(f"# {line}\n" for line in about).encode() + csv_json(columns)


def ecsv_astropy(columns: Columns) -> bytes:
    """As astropy writes ECSV: fields between blanks."""
    text = io.StringIO()
    Table(dict(columns)).write(text, format="ascii.ecsv")
    return text.getvalue().encode()


def _fits(columns: Columns, variable: bool) -> bytes:
    made = []
    for name, column in columns.items():
        letter = "K" if column.dtype.kind == "i" else "D"
        if column.ndim == 1:
            made.append(fits.Column(name, letter, array=column))
        elif variable:
            whole = np.empty(len(column), object)
            whole[:] = [row[:0] if np.isnan(row).all() else row for row in column]
            made.append(fits.Column(name, "PD()", array=whole))
        else:
            made.append(fits.Column(name, f"{column.shape[1]}D", array=column))
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(made)]).writeto(file)
    return file.getvalue()


def fits_variable(columns: Columns) -> bytes:
    """As the archive writes FITS: arrays of variable length in the heap."""
    return _fits(columns, variable=True)


def fits_fixed(columns: Columns) -> bytes:
    """Arrays of a fixed length in the rows."""
    return _fits(columns, variable=False)


def _votable(columns: Columns, form: str) -> bytes:
    file = io.BytesIO()
    table = from_table(Table(dict(columns)))
    writeto(table, file, tabledata_format=form)
    return file.getvalue()


def votable_text(columns: Columns) -> bytes:
    """VOTable with its numbers as text."""
    return _votable(columns, "tabledata")


def votable_binary(columns: Columns) -> bytes:
    """VOTable with its numbers as bytes."""
    return _votable(columns, "binary2")


FORMS: dict[str, Callable[[Columns], bytes]] = {
    "tuples.csv": csv_tuples,
    "json.csv": csv_json,
    "gaia.ecsv": ecsv,
    "astropy.ecsv": ecsv_astropy,
    "variable.fits": fits_variable,
    "fixed.fits": fits_fixed,
    "text.xml": votable_text,
    "binary.vot": votable_binary,
}


def put(root: Path, name: str, content: bytes) -> Path:
    """Write a file, gzipped where its name says so."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / name
    path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    return path


def spec_of(survey: Survey, root: Path) -> SurveySpec:
    return SurveySpec.model_validate({"name": survey.name, "root": root, "select": {"by": "all"}})


def read_all(survey: Survey, root: Path) -> pa.Table:
    """Every row of every file under a root."""
    spec = spec_of(survey, root)
    shards = list(survey.list_shards(spec))
    tasks = [Task(task_id="all", shard=shard, start=0, stop=shard.rows) for shard in shards]
    return pa.concat_tables([survey.read(spec, task) for task in tasks]).combine_chunks()


def array(table: pa.Table, name: str) -> np.ndarray:
    return table[name].combine_chunks().to_numpy_ndarray()
