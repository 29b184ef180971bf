"""A side cut down to what is compared: k0… (ids), x0… (labels), e0… (errors), and what bins are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from catalogs.compare.sides import Side
from catalogs.compare.tables import of_table
from catalogs.read import damaged
from catalogs.sql import text
from engine.errors import InputError

AXES = ("snr", "teff", "fe_h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A side's columns by our names: ids, labels in their order, errors of those that have one."""

    keys: Mapping[str, str]
    labels: Mapping[str, str]
    errors: Mapping[str, str]

    @classmethod
    def own(cls, keys: Mapping[str, str], labels: Sequence[str]) -> "Wanted":
        """What is wanted of a catalog of ours."""
        errors = {label: f"e_{label}" for label in labels}
        return cls(keys=keys, labels={label: label for label in labels}, errors=errors)

    @property
    def columns(self) -> list[str]:
        """All of them, once."""
        return list(dict.fromkeys([*self.keys.values(), *self.labels.values(), *self.errors.values()]))


def cut(
    side: Side,
    connection: duckdb.DuckDBPyConnection,
    wanted: Wanted,
    types: Mapping[str, pa.DataType],
    out: Path,
) -> Path:
    """Write a side's copy; of a catalog without rows that are flag_bad."""
    listed = [
        f"{side.key(column, types[ours])} AS k{n}" for n, (ours, column) in enumerate(wanted.keys.items())
    ]
    for n, (label, column) in enumerate(wanted.labels.items()):
        error = side.number(wanted.errors[label]) if label in wanted.errors else "CAST(NULL AS DOUBLE)"
        listed += [f"{side.label(column)} AS x{n}", f"{error} AS e{n}"]
    listed += [
        f"{side.label(axis) if axis in side.columns else 'CAST(NULL AS DOUBLE)'} AS {axis}" for axis in AXES
    ]
    where = "WHERE NOT flag_bad" if side.catalog is not None else ""
    sql = f"COPY (SELECT {', '.join(listed)} FROM {side.relation} {where}) TO {text(out)} (FORMAT parquet)"
    try:
        with of_table():
            connection.execute(sql)
    except InputError as error:
        if side.catalog is None:
            raise
        # The question is sound, so the fault is the catalog's.
        raise damaged(side.catalog.path, side.catalog.broken() or str(error)) from error
    return out
