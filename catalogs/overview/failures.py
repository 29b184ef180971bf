"""What failed, and why: tasks, single files, and rows without a result."""

from collections import Counter, defaultdict

import duckdb

from catalogs.manifest import origin
from catalogs.overview.records import Failed
from catalogs.read import Catalog
from catalogs.sql import text

SHOWN = 20


def failed_tasks(con: duckdb.DuckDBPyConnection, catalog: Catalog) -> tuple[Failed, ...]:
    """The tasks that failed, by reason, most rows first; `example` names a file where rows tell it."""
    tasks: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    examples: dict[str, list[str]] = defaultdict(list)
    for failure in catalog.manifest.get("failures", []):
        reason = failure["reason"]
        tasks[reason] += 1
        rows[reason] += failure.get("rows", 0)
        examples[reason].append(failure["task_id"])
    ranked = sorted(tasks, key=lambda reason: (-rows[reason], -tasks[reason], reason))
    return tuple(
        Failed(
            reason=reason,
            example=_file_of(con, catalog, examples[reason][0]),
            tasks=tasks[reason],
            rows=rows[reason],
        )
        for reason in ranked[:SHOWN]
    )


def unreadable(con: duckdb.DuckDBPyConnection, catalog: Catalog) -> tuple[Failed, ...]:
    """Files of groups that could not be read, by reason."""
    if "read_problem" not in catalog.schema.names:
        return ()
    found = con.execute(
        "SELECT read_problem, count(*) AS n, min({'s': shard_id, 'r': row_in_shard}) AS at, "
        "count(DISTINCT task_id) FROM catalog WHERE read_problem IS NOT NULL GROUP BY read_problem "
        f"ORDER BY n DESC, read_problem LIMIT {SHOWN}"
    ).fetchall()
    return tuple(
        Failed(reason=why, example=_source(catalog, at["s"], at["r"]), tasks=tasks, rows=rows)
        for why, rows, at, tasks in found
    )


def without_result(con: duckdb.DuckDBPyConnection) -> tuple[Failed, ...]:
    """Rows without any label, by the flags that they carry."""
    found = con.execute(
        "SELECT flag_names(flags) AS names, count(*) AS n, count(DISTINCT task_id) FROM catalog "
        f"WHERE flags & 1 <> 0 GROUP BY names ORDER BY n DESC, names LIMIT {SHOWN}"
    ).fetchall()
    return tuple(
        Failed(reason=", ".join(names[1:]) or names[0], example="", tasks=tasks, rows=rows)
        for names, rows, tasks in found
    )


def _file_of(con: duckdb.DuckDBPyConnection, catalog: Catalog, task_id: str) -> str:
    found = con.execute(
        f"SELECT shard_id, row_in_shard FROM catalog WHERE task_id = {text(task_id)} ORDER BY ALL LIMIT 1"
    ).fetchall()
    return _source(catalog, *found[0]) if found else ""


def _source(catalog: Catalog, shard_id: str | None, row: int | None) -> str:
    return "" if shard_id is None else origin(catalog.manifest, shard_id, row or 0)[0]
