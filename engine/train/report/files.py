"""A validation as one Parquet file: a row for each star, units in the fields' metadata.

First what names a star, the survey's keys and `star`. Of a label `teff`: `teff` `e_teff` `e_teff_raw` as
predicted, `teff_true` `e_teff_true` as taught, and `teff_reference`. NULL where there is none.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.columns import describe_label, schema
from engine.errors import InputError
from engine.train.report.validation import EpochScore, Validation
from engine.types import Column, Floats

_KEY = b"abundant.validation"
_FORMAT = 1
_KINDS = {
    "{}": ("centre_NL", "as the network predicts it"),
    "e_{}": ("total_error_NL", "calibrated 1-sigma error of the prediction"),
    "e_{}_raw": ("raw_error_NL", "1-sigma error of the prediction as the draws give it"),
    "{}_true": ("truth_NL", "as the network is taught"),
    "e_{}_true": ("label_error_NL", "1-sigma error of what the network is taught"),
    "{}_reference": ("reference_NL", "as the reference pipeline has it"),
}
_TAUGHT = ("truth_NL", "label_error_NL")


def save_validation(path: Path, validation: Validation) -> None:
    """Write a validation; OSError where that fails."""
    arrays, columns = [], []
    for column, array in _columns(validation):
        columns.append(column)
        arrays.append(pa.array(array, pa.float32(), mask=np.isnan(array)))
    about = {
        "format": _FORMAT,
        "split": validation.split,
        "labels": dict(zip(validation.names, validation.units, strict=True)),
        "reference": validation.reference,
        "history": [asdict(epoch) for epoch in validation.history],
        "ids": [] if validation.ids is None else validation.ids.column_names,
        "chi2": validation.chi2,
    }
    table = pa.table(arrays, schema=schema(columns))
    if validation.ids is not None:
        table = _beside(validation.ids, table)
    pq.write_table(table.replace_schema_metadata({_KEY: json.dumps(about)}), path, compression="zstd")


def _beside(ids: pa.Table, table: pa.Table) -> pa.Table:
    """Two tables of the same rows as one."""
    fields = pa.schema([*ids.schema, *table.schema])
    return pa.Table.from_arrays([*ids.columns, *table.columns], schema=fields)


def _columns(validation: Validation) -> Iterator[tuple[Column, Floats]]:
    yield _column("snr", "", "Signal to noise per pixel, its median"), validation.snr_N
    for at, (name, unit) in enumerate(zip(validation.names, validation.units, strict=True)):
        _, _, meaning = describe_label(name)
        for pattern, (field, description) in _KINDS.items():
            array_NL = getattr(validation, field)
            if array_NL is None:
                continue
            known_N = validation.known_NL[:, at] if field in _TAUGHT else True
            array = np.where(known_N, array_NL[:, at], np.float32(np.nan))
            yield _column(pattern.format(name), unit, f"{meaning}, {description}"), array


def _column(name: str, unit: str, description: str) -> Column:
    return Column(name=name, type=pa.float32(), unit=unit, description=description)


def load_validation(path: Path) -> Validation:
    """The validation that `save_validation` wrote; InputError for anything else."""
    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {})[_KEY])
        names = tuple(about["labels"])
        return Validation(
            split=about["split"],
            names=names,
            units=tuple(about["labels"].values()),
            **_arrays(table, names, bool(about["reference"])),
            reference=about["reference"],
            history=tuple(EpochScore(**epoch) for epoch in about["history"]),
            ids=table.select(about["ids"]) if about.get("ids") else None,
            chi2=about.get("chi2"),
        )
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: not the predictions.parquet of a training report: {error}") from error


def _arrays(table: pa.Table, names: tuple[str, ...], reference: bool) -> dict[str, np.ndarray]:
    found = {
        field: np.stack([_floats(table, pattern.format(name)) for name in names], axis=1)
        for pattern, (field, _) in _KINDS.items()
        if reference or field != "reference_NL"
    }
    known_NL = np.isfinite(found["truth_NL"])
    return found | {"known_NL": known_NL, "snr_N": _floats(table, "snr")}


def _floats(table: pa.Table, name: str) -> Floats:
    return table[name].to_numpy().astype(np.float32)
