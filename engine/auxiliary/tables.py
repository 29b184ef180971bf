"""[[auxiliary]] tables, opened for a plan: checked, hashed, and copied in an order that finds ids fast."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine.auxiliary.asked import KNOWN, check_asked, match_type
from engine.auxiliary.cache import made_once
from engine.auxiliary.content import content_sha256
from engine.auxiliary.inputs import AUXILIARY, PARALLAX_ZERO_POINT
from engine.auxiliary.sorted_copy import part_path, write_sorted
from engine.auxiliary.zero_point import SOLUTION
from engine.errors import PlanError
from engine.spec import Auxiliary, digest
from engine.types import Column

# Part of the names of copies: raise it when their content comes to differ.
VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table that a plan has checked. It travels to the workers, which find its copy or make it again.

    `columns` are those it gives, by our names and in their final types, in the order of the spec.
    """

    spec: Auxiliary
    sha256: str
    key_type: pa.DataType
    columns: tuple[Column, ...]


def open_tables(specs: Sequence[Auxiliary], survey_columns: Sequence[Column]) -> tuple[Table, ...]:
    """The tables of a spec, ready to be joined to spectra with these columns.

    A table that was not seen before is sorted into the cache folder, which takes time and disk. PlanError,
    with the remedy, for everything that cannot work.
    """
    check_asked(specs, survey_columns)
    return tuple(_open(spec, match_type(spec, survey_columns)) for spec in specs)


def _open(spec: Auxiliary, key_type: pa.DataType) -> Table:
    sha256 = content_sha256(spec.path)
    types = pq.read_schema(part_path(_copy(spec, sha256, key_type), 0))
    columns = tuple(_described(name, types.field(name).type, spec) for name in spec.columns)
    return Table(spec=spec, sha256=sha256, key_type=key_type, columns=columns)


def _described(name: str, kind: pa.DataType, spec: Auxiliary) -> Column:
    return KNOWN.get(name) or Column(
        name=name, type=kind, description=f"{spec.columns[name]} of {spec.path.name}"
    )


def copy_of(table: Table) -> Path:
    """The folder with a table's sorted copy; PlanError when it has to be made and the table has changed."""
    return _copy(table.spec, table.sha256, table.key_type)


def _copy(spec: Auxiliary, sha256: str, key_type: pa.DataType) -> Path:
    def make(folder: Path) -> None:
        if content_sha256(spec.path) != sha256:
            raise PlanError(f"auxiliary.path: {spec.path} has changed since the plan; plan again")
        write_sorted(spec, key_type, folder)

    asked = spec.model_dump(mode="json", exclude={"path", "match"})
    name = digest([VERSION, sha256, str(key_type), asked])[:32]
    try:
        return made_once(name, make)
    except OSError as error:
        raise PlanError(
            f"auxiliary: no sorted copy of {spec.path} could be written: {error}; set ABUNDANT_CACHE to a "
            "folder with room for twice the table"
        ) from error


def given_names(tables: Sequence[Table]) -> set[str]:
    """Every column that tables give a batch: those they fill, and those that are new."""
    filled = {column.name for table in tables for column in table.columns}
    return filled | {column.name for column in joined_columns(tables)}


def joined_columns(tables: Sequence[Table]) -> tuple[Column, ...]:
    """The columns that `join` appends, in their order: known scalars, the zero-point, arrays by name."""
    given = {column.name: column for table in tables for column in table.columns}
    arrays = [given[name] for name in sorted(given) if name not in KNOWN]
    return (*published_columns(tables), *arrays)


def published_columns(tables: Sequence[Table]) -> tuple[Column, ...]:
    """Those of them that a catalog publishes: all but arrays."""
    given = {column.name for table in tables for column in table.columns}
    scalars = tuple(column for column in AUXILIARY if column.name in given)
    return (*scalars, PARALLAX_ZERO_POINT) if given.issuperset(SOLUTION) else scalars


def table_digests(tables: Sequence[Table]) -> dict[str, str]:
    """sha256 of each table's content, by its place in the spec, for a plan's `inputs`."""
    return {f"auxiliary.{number}.path": table.sha256 for number, table in enumerate(tables)}
