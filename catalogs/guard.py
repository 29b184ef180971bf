"""What SQL may do to a catalog: one SELECT that reads. DuckDB's own locks are not enough.

They let COPY write to every file that may be read, and a WITH clause can hold a COPY in what DuckDB calls a
SELECT. So the parsed statement itself is looked through.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import duckdb

from catalogs.remote import Location
from catalogs.sql import text
from engine.errors import InputError

# EXPLAIN ANALYZE runs what it explains, a COPY too: only SELECT reads and nothing else.
READING = (duckdb.StatementType.SELECT,)
NODES = frozenset(("SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"))
# They run SQL that is given as text, which nobody has looked through.
RUNNING = frozenset(("query", "json_execute_serialized_sql"))
ONE_SELECT = "give one SELECT statement; the view is named `catalog`"


def lock(connection: duckdb.DuckDBPyConnection, files: Iterable[Location], spill: Path | str) -> None:
    """Let a connection open these files and no other, for good; what memory cannot hold goes to `spill`."""
    listed = ", ".join(text(file) for file in files)
    connection.execute(f"SET temp_directory = {text(spill)}")
    connection.execute(f"SET allowed_paths = [{listed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """InputError unless `sql` is one statement that reads; duckdb.Error when it is no SQL."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or not _reads(statements[0]):
        raise InputError(ONE_SELECT)
    found = connection.execute("SELECT json_serialize_sql(CAST(? AS VARCHAR))", [sql]).fetchall()[0][0]
    try:
        tree = json.loads(found)
    except RecursionError:
        raise InputError("SQL: the statement is nested too deeply") from None
    if tree["error"]:
        raise InputError(f"{ONE_SELECT} (DuckDB: {tree['error_message']})")
    for node in _nodes(tree):
        kind = str(node.get("type", ""))
        if kind.endswith("_NODE") and kind not in NODES:
            raise InputError(f"{ONE_SELECT}; nothing in it can write")
        if str(node.get("function_name", "")).casefold() in RUNNING:
            raise InputError(f"{node['function_name']}() runs SQL of its own and is not available here")


def _reads(statement: duckdb.Statement) -> bool:
    try:
        return statement.type in READING
    except ValueError:
        # UPDATE EXTENSIONS is of a kind that the Python package has no name for.
        return False


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of a parsed statement; without recursion, since SQL can be nested deeply."""
    left = [tree]
    while left:
        here = left.pop()
        if isinstance(here, dict):
            yield here
            left += here.values()
        elif isinstance(here, list):
            left += here
