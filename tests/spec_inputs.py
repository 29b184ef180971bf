"""Whatever a training or run spec asks for beside spectra, made up for the stars of a simulated survey.

Label tables, [[auxiliary]] tables and velocities are written where no survey has them, with the columns that
the spec names, under its own names and in its own format.
"""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import fitsio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.simulate.surveys.table import TABLE_COLUMNS
from engine.spec import ModelSpec, RunSpec, Storage, SurveySpec, TableColumns
from engine.train.cuts import named_columns
from engine.train.cuts_language import parse
from engine.train.spec import LabelTable, TrainSpec
from tests.beside import COEFFICIENTS, MAGNITUDE, NARROWER

Columns: TypeAlias = dict[str, Any]

STRANGE = 15
"""One star in so many fails each kind of cut, or lacks a label."""
ERRORS = {"teff": 30.0, "logg": 0.05}
QUANTITIES: Mapping[str, tuple[float, float]] = {
    "SNR": (250.0, 600.0),
    "VSCATTER": (0.0, 0.5),
    "K": (8.0, 13.0),
    "EBV": (0.02, 0.3),
    "LOG_L": (0.1, 2.5),
    "parallax": (0.2, 5.0),
    "parallax_error": (0.02, 0.05),
    "parallax_zero_point": (-0.04, -0.02),
    "ruwe": (0.9, 1.2),
    "ipd_frac_multi_peak": (0.0, 1.0),
    "ipd_gof_harmonic_amplitude": (0.01, 0.05),
}
"""Columns of label tables that are neither labels nor errors, and between what they lie."""
WHOLE = ("gaia_source_id", "astrometric_params_solved")
BITS = {"STARFLAG": 9, "ASPCAPFLAG": 23}
"""Columns of bits, and the bit of a star that is to be left out."""
ALIASES = {"ci_fe": "c_1_fe", "tiii_fe": "ti_2_fe"}


def _with_velocities(survey: SurveySpec, truth: pa.Table, folder: Path) -> SurveySpec:
    """The survey with a table of the true velocities, where it asks for a table."""
    if survey.rv.path is None:
        return survey
    _write(folder / "rv.fits", _velocities(truth), extname="RVTAB")
    return survey.model_copy(update={"rv": survey.rv.model_copy(update={"path": folder / "rv.fits"})})


def with_inputs(spec: TrainSpec, truth_path: Path, folder: Path) -> TrainSpec:
    """The spec on a simulated survey, whose truth is given, with all that it joins in a folder."""
    truth, root = pq.read_table(truth_path), truth_path.parent
    folder.mkdir(parents=True)
    labels = folder / f"labels{''.join(spec.labels.path.suffixes[-1:])}"
    _write(labels, label_columns(spec, _stars(truth, spec.labels)))
    survey = spec.survey.model_copy(update={"root": str(root)})
    survey = _with_velocities(survey, truth, folder)
    tables = []
    for number, table in enumerate(spec.auxiliary):
        path = folder / f"beside-{number}{table.path.suffix}"
        id_name = table.match if table.match in truth.column_names else "source_id"
        _write(path, {table.key: truth[id_name]} | _beside(table.columns, len(truth)))
        tables.append(table.model_copy(update={"path": path}))
    update = {"survey": survey, "auxiliary": tuple(tables)}
    return spec.model_copy(update=update | {"labels": spec.labels.model_copy(update={"path": labels})})


def with_run_inputs(spec: RunSpec, truth_path: Path, bundle: Path, folder: Path) -> RunSpec:
    """A run spec on a simulated survey, whose truth is given, with all that it joins in a folder."""
    truth = pq.read_table(truth_path)
    folder.mkdir(parents=True)
    survey = spec.survey.model_copy(update={"root": str(truth_path.parent), "storage": Storage()})
    if survey.name == "table":
        survey = survey.model_copy(
            update={"root": f"{survey.root}/spectra", "table": TableColumns.model_validate(TABLE_COLUMNS)}
        )
    survey = _with_velocities(survey, truth, folder)
    tables = []
    for number, table in enumerate(spec.auxiliary):
        path = folder / f"beside-{number}{table.path.suffix}"
        id_name = table.match if table.match in truth.column_names else "source_id"
        whole = {
            theirs: _whole_numbers(ours, truth) for ours, theirs in table.columns.items() if ours in WHOLE
        }
        _write(path, {table.key: truth[id_name]} | _beside(table.columns, len(truth)) | whole)
        tables.append(table.model_copy(update={"path": path}))
    catalog = spec.catalog.model_copy(update={"root": str(folder / "catalogs")})
    model = ModelSpec(bundle=bundle)
    return spec.model_copy(
        update={"survey": survey, "auxiliary": tuple(tables), "model": model, "catalog": catalog}
    )


def _whole_numbers(ours: str, truth: pa.Table) -> Any:
    """A column of whole numbers: some ids of Gaia, or its astrometric parameters as bits."""
    if ours == "gaia_source_id":
        return np.arange(1, len(truth) + 1)
    return np.full(len(truth), 31, np.int32)


def label_columns(spec: TrainSpec, stars: pa.Table) -> Columns:
    """All columns of its label table that a spec names; where it takes the best row, three stars have two."""
    table = spec.labels
    keys = {table.columns.get(name, name): stars[name] for name in table.key or ()}
    if table.sky is not None:
        keys = {table.sky.ra: stars["ra"], table.sky.dec: stars["dec"]}
    names = _table_columns(spec) - keys.keys()
    columns = keys | {name: _values(name, stars) for name in sorted(names)}
    if table.best is None:
        return columns
    worse = {name: _whole(values)[:3] for name, values in columns.items()}
    worse[table.best] = pa.array(np.ones(3))
    return {name: pa.concat_arrays([_whole(values), worse[name]]) for name, values in columns.items()}


def _whole(values: Any) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else pa.array(values)


def _table_columns(spec: TrainSpec) -> set[str]:
    """What must be in the label table: all that labels, their errors, flags and cuts name."""
    table = spec.labels
    plain = {name for name in table.names if name not in table.columns}
    ours = plain | {f"e_{name}" for name in plain}
    texts = [*table.columns.values(), *table.flagged.values(), *([table.best] if table.best else [])]
    named = {name for text in texts for name in parse(text, "labels").names}
    return ours | named | (named_columns(spec.cuts) - table.columns.keys())


def _stars(truth: pa.Table, table: LabelTable) -> pa.Table:
    """A row for each star: DESI has some in several programs, and fibres that saw none."""
    stars = truth.filter(truth["teff"].is_valid())
    keys = stars.select(list(table.key or ("ra", "dec"))).to_pandas()
    return stars.take(np.flatnonzero(~keys.duplicated().to_numpy()))


def _values(name: str, stars: pa.Table) -> np.ndarray:
    """A column of the label table. Labels follow the truth, the others lie in their usual ranges."""
    rows = np.arange(len(stars))
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name in BITS:
        return np.where(rows % STRANGE == 8 + [*BITS].index(name), 1 << BITS[name], 0)
    if name in QUANTITIES:
        values = random.uniform(*QUANTITIES[name], len(rows))
        return np.where(rows % STRANGE == 7, 20.0, values) if name == "SNR" else values
    ours = name.lower()
    if ours.endswith("_flag"):
        return (rows % STRANGE == 3).astype(np.int32)
    label = ours.removesuffix("_err").removeprefix("e_")
    label = ALIASES.get(label, label)
    if label != ALIASES.get(ours, ours):
        errors = ERRORS.get(label, 0.02) * random.uniform(0.5, 1.5, len(rows))
        return np.where(rows % STRANGE == 4, np.nan, errors)
    return np.where(rows % STRANGE == 5, np.nan, _label(label, stars))


def _label(name: str, stars: pa.Table) -> np.ndarray:
    """A label: the truth where it was simulated, else as plausible as iron and magnesium make it."""
    if name in stars.column_names:
        return stars[name].to_numpy()
    iron = stars["fe_h"].to_numpy()
    if name == "m_h":
        return iron
    if name in ("alpha_m", "alpha_fe"):
        return stars["mg_h"].to_numpy() - iron
    if name.endswith("_fe"):
        return _label(f"{name.removesuffix('_fe')}_h", stars) - iron
    if name.endswith("_h"):
        return iron + np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.1, len(stars))
    raise KeyError(f"no made-up values for column {name}: say in tests/spec_inputs.py between what it lies")


def _beside(columns: Mapping[str, str], rows: int) -> Columns:
    """The columns of an auxiliary table, under its own names."""
    random = np.random.default_rng(rows)
    return {
        theirs: list(random.normal(100.0, 30.0, (rows, 55)))
        if ours in COEFFICIENTS
        else random.uniform(*NARROWER.get(ours, MAGNITUDE), rows)
        for ours, theirs in columns.items()
    }


def _velocities(truth: pa.Table) -> Columns:
    """DESI's table of radial velocities."""
    stars = truth.filter(truth["rv"].is_valid())
    columns = {"TARGETID": "targetid", "VRAD": "rv", "SURVEY": "survey", "PROGRAM": "program"}
    found: Columns = {theirs: stars[ours] for theirs, ours in (columns | {"HEALPIX": "healpix"}).items()}
    rows = len(stars)
    return found | {"VRAD_ERR": np.full(rows, 0.5), "RVS_WARN": np.zeros(rows, np.int64)}


def _write(path: Path, columns: Columns, extname: str = "STARS") -> None:
    """A table as its suffix says: FITS, else Parquet."""
    if path.suffix != ".fits":
        pq.write_table(pa.table(columns), path)
        return
    plain = {name: _native(_whole(values)) for name, values in columns.items()}
    with fitsio.FITS(str(path), "rw", clobber=True) as fits:
        fits.write_table(plain, extname=extname)


def _native(values: pa.Array) -> np.ndarray:
    found = values.to_numpy(zero_copy_only=False)
    return found.astype("S40") if found.dtype == object else found
