"""What DuckDB is asked, wherever it is asked: bounded memory, quoted names, keys as text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from catalogs.remote import Location

# With it a driver stays below 2 GB; what needs more goes to disk.
MEMORY = "1GB"
THREADS = 4
SHOWN = 10
# Keys are compared beside whatever a driver holds; with these, 20 million take 30 seconds and 400 MB of disk.
KEYS_MEMORY = "256MB"
KEYS_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """Keys that more than one row has: how many, and some of them with the tasks that made the rows."""

    keys: int
    examples: tuple[tuple[str, tuple[str, ...]], ...]

    def __str__(self) -> str:
        lines = [f"  {key}: tasks {', '.join(tasks)}" for key, tasks in self.examples]
        return "\n".join(lines + ["  …"] * (self.keys > len(lines)))


def name(column: str) -> str:
    """A column's name, quoted."""
    return '"' + column.replace('"', '""') + '"'


def text(value: object) -> str:
    """A string literal."""
    return "'" + str(value).replace("'", "''") + "'"


def scan(files: Iterable[Location]) -> str:
    """The rows of some Parquet files; folder names such as Norder=3 make no columns."""
    return f"read_parquet([{', '.join(text(file) for file in files)}], hive_partitioning=false)"


def slashed(keys: Sequence[str]) -> str:
    """A row's full key as text: main/bright/12345/NULL/39633…"""
    return " || '/' || ".join(f"coalesce(CAST({name(key)} AS VARCHAR), 'NULL')" for key in keys)


def duplicates(files: Sequence[Path], keys: Sequence[str], spill: Path) -> Duplicates:
    """Find keys, NULLs included, that occur more than once in all files; out of core, in `spill`.

    First their hashes, which are short; then, where any occurs twice, the keys that have it.
    """
    columns = ", ".join(name(key) for key in keys)
    same = " AND ".join(f"r.{name(key)} IS NOT DISTINCT FROM t.{name(key)}" for key in keys)
    spill.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as con:
        con.execute(f"SET memory_limit = '{KEYS_MEMORY}'; SET threads = {KEYS_THREADS}")
        con.execute(f"SET temp_directory = {text(spill)}; SET preserve_insertion_order = false")
        con.execute(
            f"CREATE TEMP TABLE suspects AS SELECT hash({columns}) AS h FROM {scan(files)} "
            "GROUP BY h HAVING count(*) > 1"
        )
        if not con.execute("SELECT count(*) FROM suspects").fetchall()[0][0]:
            return Duplicates(keys=0, examples=())
        con.execute(
            f"CREATE TEMP TABLE twice AS SELECT {columns} FROM {scan(files)} "
            f"WHERE hash({columns}) IN (SELECT h FROM suspects) GROUP BY {columns} HAVING count(*) > 1"
        )
        found = con.execute("SELECT count(*) FROM twice").fetchall()[0][0]
        if not found:
            return Duplicates(keys=0, examples=())
        rows = con.execute(
            f"SELECT k, list(task_id ORDER BY task_id) FROM (SELECT {slashed(keys)} AS k, task_id "
            f"FROM {scan(files)} r SEMI JOIN (FROM twice ORDER BY ALL LIMIT {SHOWN}) t ON {same}) "
            "GROUP BY k ORDER BY k"
        ).fetchall()
    return Duplicates(keys=found, examples=tuple((key, tuple(tasks)) for key, tasks in rows))
