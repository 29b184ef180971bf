"""The SQL that gets keys and columns out of a label table, and what is said when they are not fit for it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from engine.auxiliary.sorted_copy import KEY
from engine.auxiliary.source import Source, identifier, quoted
from engine.auxiliary.wanted import WHOLE_NUMBER, key_expression
from engine.errors import PlanError
from engine.spec import Auxiliary
from engine.train.spec import LabelTable

# Between the parts of a key of several columns, and for one that is NULL: as on the command line.
SLASH, NULL = "/", "NULL"
NOT_A_NUMBER = "('', 'nan', 'NaN', 'NAN', 'null', 'NULL')"


@contextmanager
def of_table(named: Path | None = None, read: Path | None = None) -> Iterator[None]:
    """What goes wrong with a table, in the words of [labels]; `read` is called by the name of the spec."""
    try:
        yield
    except (PlanError, duckdb.Error, pa.ArrowException) as error:
        text = str(error) if isinstance(error, PlanError) else _first_line(error, named)
        for ours in ("auxiliary.path", "auxiliary.key", "auxiliary"):
            if text.startswith(f"{ours}:"):
                place = "labels.key" if ours == "auxiliary.key" else "labels.path"
                text = place + text.removeprefix(ours)
        raise PlanError(text.replace(str(read), str(named)) if read and named else text) from error


def _first_line(error: Exception, path: Path | None) -> str:
    return f"labels.path: {path} cannot be read as asked: {str(error).partition(chr(10))[0]}"


def key_sql(table: LabelTable, source: Source, key_types: Mapping[str, pa.DataType]) -> str:
    """SQL of the key: the row by position, else a column, else several joined by slashes.

    PlanError unless each is of the kind of the ids that it is compared with.
    """
    if table.key is None:
        return "row_number() OVER () - 1"
    parts = []
    for ours in table.key:
        theirs = table.columns.get(ours, ours)
        asked = Auxiliary(path=table.path, key=theirs, match=ours, columns={ours: theirs})
        value = key_expression(asked, source, key_types[ours], KEY)
        parts.append(value.rpartition(" AS ")[0])
    if len(parts) == 1:
        return parts[0]
    texts = [f"coalesce(CAST({part} AS VARCHAR), {quoted(NULL)})" for part in parts]
    nothing = " AND ".join(f"({part}) IS NULL" for part in parts)
    # A row without any id belongs to no spectrum, not to all those without one.
    return f"CASE WHEN {nothing} THEN NULL ELSE concat_ws({quoted(SLASH)}, {', '.join(texts)}) END"


def value_sql(name: str, source: Source, table: LabelTable, database: duckdb.DuckDBPyConnection) -> str:
    """SQL of a column as BIGINT, DOUBLE, BOOLEAN or VARCHAR; PlanError when it holds anything else."""
    value = identifier(name)
    if source.is_text:
        return _of_text(value, source, table, database)
    kind = source.kind(name)
    if kind == "text" or source.types[name] == "BOOLEAN":
        return value
    if kind == "integer":
        # What is larger than any signed integer is a number all the same.
        return f"CAST({value} AS {'DOUBLE' if source.types[name] == 'UBIGINT' else 'BIGINT'})"
    if kind == "number":
        return f"CAST({value} AS DOUBLE)"
    raise PlanError(f"labels: column {name} of {table.path} is {source.types[name]}: give one value per row")


def _of_text(value: str, source: Source, table: LabelTable, database: duckdb.DuckDBPyConnection) -> str:
    """CSV says no types: whole numbers where all values are, else numbers, else text."""
    marks = "".join(f", {quoted(mark)}" for mark in table.missing if isinstance(mark, str))
    known = f"CASE WHEN trim({value}) IN {NOT_A_NUMBER[:-1]}{marks}) THEN NULL ELSE {value} END"
    whole, number = database.execute(
        f"SELECT coalesce(bool_and(regexp_full_match({known}, '{WHOLE_NUMBER}') "
        f"AND TRY_CAST({known} AS BIGINT) IS NOT NULL), false), "
        f"coalesce(bool_and(TRY_CAST({known} AS DOUBLE) IS NOT NULL), true) "
        f"FROM {source.relation} WHERE ({known}) IS NOT NULL"
    ).fetchall()[0]
    return f"CAST({known} AS {'BIGINT' if whole else 'DOUBLE'})" if number else known


def best_sql(table: LabelTable, source: Source) -> str:
    """SQL of what tells the best of several rows of one key; NULL is the worst."""
    if table.best is None:
        return "NULL"
    value = identifier(table.best)
    number = f"TRY_CAST({value} AS DOUBLE)"
    if source.kind(table.best) not in ("integer", "number", "any"):
        kind = source.types[table.best]
        raise PlanError(f"labels.best: column {table.best} of {table.path} is {kind}, not numbers")
    return f"CASE WHEN isfinite({number}) THEN {number} END"


def counted(rows: str, table: LabelTable, database: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many rows there are, without a key, and repeating one; PlanError where none of them is best."""
    total, keyed, distinct = database.execute(
        f"SELECT count(*), count({KEY}), count(DISTINCT {KEY}) FROM ({rows})"
    ).fetchall()[0]
    if keyed > distinct and table.best is None:
        one = database.execute(
            f"SELECT {KEY} FROM ({rows}) GROUP BY {KEY} HAVING count({KEY}) > 1 ORDER BY 1 LIMIT 1"
        ).fetchall()[0][0]
        raise PlanError(
            f"labels.path: {table.path}: {keyed - distinct} rows repeat a key, such as {one}; keep one row "
            "of each, name the column that tells which is best in [labels] best, or more columns in key"
        )
    return {"rows": total, "keyless": total - keyed, "repeated": keyed - distinct}
