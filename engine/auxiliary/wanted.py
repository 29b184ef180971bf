"""Which columns of a table are wanted, as which types, and how SQL gets them out."""

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from engine.auxiliary.asked import KNOWN, known_names
from engine.auxiliary.source import Kind, Source, identifier, quoted
from engine.errors import PlanError
from engine.spec import Auxiliary
from engine.types import Column

WHOLE_NUMBER = r"\s*[+-]?[0-9]+\s*"
# Gaia's files write arrays as (1, 2), [1, 2] or {1, 2}.
BRACKETS = "'(){}', '[][]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A column that is asked for: ours, and the name that it has in the table."""

    column: Column
    theirs: str


def wanted_columns(spec: Auxiliary, source: Source, database: duckdb.DuckDBPyConnection) -> list[Wanted]:
    """What a table was asked for; PlanError when a column is of another kind."""
    return [
        Wanted(column=_column(ours, theirs, spec, source, database), theirs=theirs)
        for ours, theirs in spec.columns.items()
    ]


def _column(
    ours: str, theirs: str, spec: Auxiliary, source: Source, database: duckdb.DuckDBPyConnection
) -> Column:
    kind = source.kind(theirs)
    if ours in KNOWN:
        _check_kind(f"{theirs} (our {ours})", kind, KNOWN[ours].type, spec)
        return KNOWN[ours]
    if kind not in ("array", "any"):
        raise PlanError(
            f"auxiliary.columns: {ours} is not known, and {theirs} of {spec.path} is "
            f"{source.types[theirs]}, no array; {known_names()}"
        )
    element = pa.float32() if source.types[theirs].startswith("FLOAT") else pa.float64()
    length = _length(theirs, spec, source, database)
    return Column(
        name=ours,
        type=pa.fixed_shape_tensor(element, [length]),
        description=f"{theirs} of [[auxiliary]] {spec.path.name}",
    )


def _check_kind(what: str, kind: Kind, target: pa.DataType, spec: Auxiliary) -> None:
    fitting = ("any", "integer", "number") if pa.types.is_floating(target) else ("any", "integer")
    if kind not in fitting:
        raise PlanError(f"auxiliary: {what} of {spec.path} is of kind {kind}, expected {target}; convert it")


def _length(theirs: str, spec: Auxiliary, source: Source, database: duckdb.DuckDBPyConnection) -> int:
    """The length of the first array of a column; PlanError when there is none."""
    values = _array(theirs, source)
    found = database.execute(
        f"SELECT len({values}) FROM {source.relation} WHERE len({values}) > 0 LIMIT 1"
    ).fetchall()
    if not found:
        raise PlanError(f"auxiliary: {theirs} of {spec.path} is missing in every row; leave it out")
    return int(found[0][0])


def expression(wanted: Wanted, source: Source) -> str:
    """SQL of a wanted column: arrays and floats in single or double precision, integers as BIGINT."""
    name = identifier(wanted.theirs)
    if isinstance(wanted.column.type, pa.FixedShapeTensorType):
        value = _array(wanted.theirs, source)
    elif pa.types.is_floating(wanted.column.type):
        # Too large for single precision is an error in DuckDB; Arrow makes it infinite, which is missing.
        value = name if source.types[wanted.theirs] == "FLOAT" else f"CAST({name} AS DOUBLE)"
    else:
        value = _integer(wanted.theirs, source)
    return f"{value} AS {identifier(wanted.column.name)}"


def key_expression(spec: Auxiliary, source: Source, key_type: pa.DataType, name: str) -> str:
    """SQL of the key; PlanError unless it is of the kind of the ids that it is compared with."""
    kind = source.kind(spec.key)
    wanted = "text" if pa.types.is_string(key_type) else "integer"
    if kind == "number":
        raise PlanError(
            f"auxiliary.key: {spec.key} in {spec.path} is {source.types[spec.key]}, exact only "
            "up to 2**53, and most ids are larger; store it as int64"
        )
    if kind not in ("any", wanted):
        raise PlanError(
            f"auxiliary.key: {spec.key} in {spec.path} is of kind {kind}, and {spec.match} of the spectra is "
            f"{wanted}; convert it or match another column"
        )
    value = _integer(spec.key, source) if wanted == "integer" else identifier(spec.key)
    return f"{value} AS {name}"


def _integer(theirs: str, source: Source) -> str:
    name = identifier(theirs)
    if not source.is_text:
        return f"CAST({name} AS BIGINT)"
    # CAST alone rounds '1.5' and '1e18' in silence.
    refused = f"error({quoted(f'column {theirs}: expected whole numbers, found ')} || {name})"
    return (
        f"CASE WHEN {name} IS NULL THEN NULL WHEN regexp_full_match({name}, '{WHOLE_NUMBER}') "
        f"THEN CAST({name} AS BIGINT) ELSE {refused} END"
    )


def _array(theirs: str, source: Source) -> str:
    name = identifier(theirs)
    if source.is_text:
        return f"CAST(translate({name}, {BRACKETS}) AS DOUBLE[])"
    return f"CAST({name} AS {'FLOAT' if source.types[theirs].startswith('FLOAT') else 'DOUBLE'}[])"
