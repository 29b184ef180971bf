"""The label table: what is known of stars, looked up by the survey's keys."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.columns import SCALARS, describe_label
from engine.errors import PlanError
from engine.surveys.survey import Survey
from engine.train.spec import LabelTable
from engine.types import Floats

# What catalogs write for "no value" where they cannot write NULL.
MISSING_BELOW = -9998.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """A label table in memory, looked up by key."""

    row_of: dict[tuple, int]
    value_NL: Floats
    error_NL: Floats

    def rows(self, spectra: pa.Table, key: tuple[str, ...]) -> np.ndarray:
        """The table's row for each spectrum, -1 where there is none."""
        keys = zip(*(spectra[name].to_pylist() for name in key), strict=True)
        return np.array([self.row_of.get(one, -1) for one in keys], np.int64)


def read_labels(table: LabelTable, survey: Survey) -> Labels:
    """The label table; PlanError, with the remedy, for one that cannot be joined or learnt from."""
    _check_names(table, survey)
    found = _read(table)
    _check_key_types(table, found.schema, survey)
    keys = list(zip(*(found[name].to_pylist() for name in table.key), strict=True))
    row_of = {key: row for row, key in enumerate(keys)}
    if len(row_of) < len(keys):
        doubled = next(key for row, key in enumerate(keys) if row_of[key] != row)
        raise PlanError(
            f"labels.path: {table.path}: {len(keys) - len(row_of)} rows repeat a key, such as {doubled}; "
            "keep one row of each, or name more columns in [labels] key"
        )
    # A row without any id belongs to no spectrum, not to all those without one.
    row_of.pop((None,) * len(table.key), None)
    return Labels(
        row_of=row_of,
        value_NL=np.stack([_floats(found, name) for name in table.names], axis=1),
        error_NL=np.stack([_errors(found, name, table) for name in table.names], axis=1),
    )


def _check_names(table: LabelTable, survey: Survey) -> None:
    """PlanError for a key column that the survey does not have, and for a label that nobody knows."""
    have = [column.name for column in (*survey.keys, *SCALARS)]
    if unknown := [name for name in table.key if name not in have]:
        raise PlanError(
            f"labels.key: {survey.name} has no column {', '.join(unknown)}; it has {', '.join(have)}"
        )
    for name in table.names:
        try:
            describe_label(name)
        except ValueError as error:
            raise PlanError(f"labels.names: {error}") from None


def _read(table: LabelTable) -> pa.Table:
    """The columns that are asked for, each there once, and rows in them."""
    try:
        columns = pq.read_schema(table.path).names
        wanted = [*table.key, *table.names]
        if missing := [name for name in wanted if name not in columns]:
            raise PlanError(
                f"labels.path: {table.path} has no column {', '.join(missing)}; it has {', '.join(columns)}"
            )
        wanted += [error for name in table.names if (error := f"e_{name}") in columns]
        if doubled := sorted({name for name in wanted if columns.count(name) > 1}):
            raise PlanError(f"labels.path: {table.path} has column {', '.join(doubled)} twice; rename one")
        found = pq.read_table(table.path, columns=list(dict.fromkeys(wanted)))
    except (OSError, pa.ArrowException) as error:
        raise PlanError(f"labels.path: {table.path} cannot be read as Parquet: {error}") from error
    if not len(found):
        raise PlanError(f"labels.path: {table.path} has no rows; give a table with a row per labelled star")
    return found


def _check_key_types(table: LabelTable, found: pa.Schema, survey: Survey) -> None:
    """PlanError for ids that could not be equal to the survey's, or are blurred: a float keeps 53 bits."""
    ours = {column.name: column.type for column in (*survey.keys, *SCALARS)}
    for name in table.key:
        theirs = found.field(name).type
        if _kind(theirs) != _kind(ours[name]):
            raise PlanError(
                f"labels.path: key column {name} of {table.path} is {theirs}, {survey.name} has it as "
                f"{ours[name]}: store it as {ours[name]}"
            )


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    if pa.types.is_integer(kind):
        return "integer"
    return "string" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else str(kind)


def _floats(table: pa.Table, name: str) -> Floats:
    """A column as float32, NaN where it is NULL or a catalog's -9999; PlanError unless it holds numbers."""
    kind = table.schema.field(name).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise PlanError(f"labels.path: column {name} is {kind}, not numbers: store it as float32")
    # By way of float64, where every integer a label can be has a place.
    values = table[name].cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy().astype(np.float32)
    return np.where(values < MISSING_BELOW, np.float32(np.nan), values)


def _errors(table: pa.Table, name: str, spec: LabelTable) -> Floats:
    """The label's own errors; 0 where there is none and a floor stands in for it."""
    floored = spec.error_floor.get(name, 0.0) > 0
    own = (
        _floats(table, f"e_{name}") if f"e_{name}" in table.column_names else np.zeros(len(table), np.float32)
    )
    if not floored and not (own[np.isfinite(own)] > 0).all():
        raise PlanError(
            f"label {name} has errors that are zero or missing; give [labels] error_floor.{name} in its unit"
        )
    return np.where(own > 0, own, np.float32(0)) if floored else own
