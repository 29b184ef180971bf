"""Two slim copies -> pairs on disk: d0… (first minus second), p0… (that over both errors), the bins' axes."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from catalogs.compare.slim import AXES
from catalogs.sql import SHOWN, text
from engine.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Pairs in a file that `connection` reads, rows of both sides, and some ids of each."""

    connection: duckdb.DuckDBPyConnection
    pairs: Path
    rows_first: int
    rows_second: int
    matched: int
    examples: tuple[tuple[str, ...], ...] = ()


def join(
    connection: duckdb.DuckDBPyConnection, first: Path, second: Path, *, keys: int, labels: int, out: Path
) -> Joined:
    """Pair rows that have the same ids. InputError for ids that several rows of the second side have."""
    named = [f"k{n}" for n in range(keys)]
    _refuse_repeated(connection, second, named)
    same = " AND ".join(f"a.{key} IS NOT DISTINCT FROM b.{key}" for key in named)
    some = " OR ".join(f"a.{key} IS NOT NULL" for key in named)
    rows = f"FROM {_file(first)} a JOIN {_file(second)} b ON {same} WHERE {some}"
    return Joined(
        connection=connection,
        pairs=out,
        rows_first=_count(connection, first),
        rows_second=_count(connection, second),
        matched=_write(connection, rows, labels, out),
        examples=tuple(_examples(connection, file, named) for file in (first, second)),
    )


def repeats(
    connection: duckdb.DuckDBPyConnection, first: Path, *, keys: int, labels: int, out: Path
) -> Joined:
    """Pair each row of a star with that of its highest S/N, which comes second; one row alone has no pair."""
    star = ", ".join(f"k{n}" for n in range(keys))
    some = " OR ".join(f"k{n} IS NOT NULL" for n in range(keys))
    known = f"SELECT *, row_number() OVER () AS place FROM {_file(first)} WHERE {some}"
    ranked = (
        f"SELECT *, row_number() OVER (PARTITION BY {star} ORDER BY snr DESC NULLS LAST, place) AS r, "
        f"count(*) OVER (PARTITION BY {star}) AS n FROM ({known})"
    )
    several = out.with_name("several.parquet")
    connection.execute(f"COPY (SELECT * FROM ({ranked}) WHERE n > 1) TO {text(several)} (FORMAT parquet)")
    same = " AND ".join(f"a.k{n} IS NOT DISTINCT FROM b.k{n}" for n in range(keys))
    rows = f"FROM {_file(several)} a JOIN {_file(several)} b ON {same} WHERE a.r > 1 AND b.r = 1"
    return Joined(
        connection=connection,
        pairs=out,
        rows_first=_count(connection, first),
        rows_second=_count(connection, several),
        matched=_write(connection, rows, labels, out),
    )


def _write(connection: duckdb.DuckDBPyConnection, rows: str, labels: int, out: Path) -> int:
    """Write the pairs; how many there are."""
    listed = [f"a.{axis}" for axis in AXES]
    for n in range(labels):
        # An error that only one side has counts alone.
        both = f"sqrt(nullif(coalesce(pow(a.e{n}, 2), 0) + coalesce(pow(b.e{n}, 2), 0), 0))"
        listed += [f"a.x{n} - b.x{n} AS d{n}", f"(a.x{n} - b.x{n}) / {both} AS p{n}"]
    connection.execute(f"COPY (SELECT {', '.join(listed)} {rows}) TO {text(out)} (FORMAT parquet)")
    return _count(connection, out)


def _refuse_repeated(connection: duckdb.DuckDBPyConnection, second: Path, named: list[str]) -> None:
    listed = ", ".join(named)
    some = " OR ".join(f"{key} IS NOT NULL" for key in named)
    twice = f"SELECT {listed} FROM {_file(second)} WHERE {some} GROUP BY ALL HAVING count(*) > 1"
    count = connection.execute(f"SELECT count(*) FROM ({twice})").fetchall()[0][0]
    if count:
        found = connection.execute(f"{twice} ORDER BY ALL LIMIT {SHOWN}").fetchall()
        ids = ", ".join("/".join("NULL" if part is None else str(part) for part in row) for row in found)
        raise InputError(
            f"duplicate ids in the second side: {count:,} ids have several rows, such as {ids}; "
            "keep one row of each, or join by more columns with --on"
        )


def _examples(connection: duckdb.DuckDBPyConnection, file: Path, named: list[str]) -> tuple[str, ...]:
    rows = connection.execute(f"SELECT {', '.join(named)} FROM {_file(file)} LIMIT 2").fetchall()
    return tuple("/".join("NULL" if part is None else str(part) for part in row) for row in rows)


def _count(connection: duckdb.DuckDBPyConnection, file: Path) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {_file(file)}").fetchall()[0][0])


def _file(path: Path) -> str:
    return f"read_parquet({text(path)}, hive_partitioning = false)"
