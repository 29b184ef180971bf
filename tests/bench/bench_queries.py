"""What a catalog of 5 million rows costs to keep and to ask, beside the same rows in one plain Parquet file.

The plain file is what `DataFrame.to_parquet` writes of the rows in input order. Questions are asked with two
threads, of both in turn; the least of five times counts.
"""

import math
import os
import time
from functools import partial
from pathlib import Path
from typing import Final

import duckdb
import pandas as pd
import pyarrow as pa

from catalogs import open_catalog
from catalogs.commit import commit
from catalogs.layout import Layout
from catalogs.report import CommitReport
from tests.bench.big_catalog import PRODUCT, ROWS, place, stage_survey
from tests.bench.simulated_rows import simulated_rows

FILES = int(float(os.environ.get("ABUNDANT_BENCH_QUERIES", "5e6")) / ROWS)
TIMES = 5
RA, DEC = 150.0, 2.0
CONES: Final = {"cone_02": 0.2, "cone_2": 2.0}
SCANS: Final = {
    "density": "SELECT floor(fe_h / 0.05) AS x, floor(mg_fe / 0.02) AS y, count(*) AS stars FROM catalog "
    "WHERE NOT flag_bad AND snr > 30 AND e_fe_h < 0.1 AND e_mg_fe < 0.08 GROUP BY ALL",
    "flagged_by_pixel": "SELECT _healpix_29 >> 48 AS pixel, "
    "avg(CAST(flag_warn OR flag_bad AS INTEGER)) AS share FROM catalog GROUP BY ALL",
    "single_id": "SELECT * FROM catalog WHERE targetid = {one}",
}
AIMS = {
    "bytes_per_row_over_plain": "<= 0.6",
    "rounded_bytes_per_row_over_plain": "<= 0.6",
    "count_s": "< 0.05",
    **{f"plain_{name}_over_ours": ">= 5" for name in CONES},
    **{f"{name}_over_plain": "<= 1.5" for name in SCANS},
}


def bench(work: Path) -> dict[str, float]:
    """Bytes per row, rows/s of the commit, and seconds for six questions.

    `rounded` are the same rows, a fifth of them, as `[catalog] rounded = true` makes them.
    """
    layout = place(work)
    names = stage_survey(layout, FILES, simulated_rows)
    started = time.perf_counter()
    report = commit(layout, names, PRODUCT, manifest={}, failed_allowed=0)
    found = {"commit_rows_per_s": report.rows / (time.perf_counter() - started)}
    plain = work / "plain.parquet"
    write_plain(plain, FILES)
    plain_per_row = plain.stat().st_size / report.rows
    found["bytes_per_row"] = per_row(layout, report)
    found["bytes_per_row_over_plain"] = found["bytes_per_row"] / plain_per_row
    rounded = place(work / "rounded")
    names = stage_survey(rounded, FILES // 5, partial(simulated_rows, rounded=True))
    found["rounded_bytes_per_row"] = per_row(
        rounded, commit(rounded, names, PRODUCT, manifest={}, failed_allowed=0)
    )
    found["rounded_bytes_per_row_over_plain"] = found["rounded_bytes_per_row"] / plain_per_row
    return found | asked(layout.catalog, plain)


def per_row(layout: Layout, report: CommitReport) -> float:
    """Bytes of a catalog's data, per row."""
    files = (layout.catalog / "dataset").rglob("Npix=*.parquet")
    return sum(file.stat().st_size for file in files) / report.rows


def write_plain(path: Path, files: int) -> None:
    """All rows in the order of the survey's files, as pandas writes them by default."""
    rows = pa.concat_tables(simulated_rows(number, files) for number in range(files))
    rows.to_pandas(types_mapper=pd.ArrowDtype).to_parquet(path)


def asked(catalog: Path, plain: Path) -> dict[str, float]:
    """Seconds of each question, and how the two compare."""
    one = simulated_rows(FILES // 4, FILES)["targetid"][0].as_py()
    with open_catalog(catalog).duckdb() as ours, duckdb.connect() as theirs:
        theirs.execute(f"CREATE VIEW catalog AS FROM read_parquet('{plain}')")
        for connection in (ours, theirs):
            connection.execute("SET threads = 2")
        found: dict[str, float] = {}
        count = "SELECT count(*) FROM catalog"
        found["count_s"], _ = both(ours, theirs, count, count)
        for name, radius in CONES.items():
            cone = f"SELECT targetid, teff, fe_h FROM catalog WHERE cone({RA}, {DEC}, {radius})"
            far = f"SELECT targetid, teff, fe_h FROM catalog WHERE {haversine()} < {math.radians(radius)}"
            found[f"{name}_s"], long = both(ours, theirs, cone, far)
            found[f"plain_{name}_over_ours"] = long / found[f"{name}_s"]
        for name, question in SCANS.items():
            sql = question.format(one=one)
            found[f"{name}_s"], long = both(ours, theirs, sql, sql)
            found[f"{name}_over_plain"] = found[f"{name}_s"] / long
    return found


def haversine() -> str:
    """Radians between a row and (RA, DEC), as SQL."""
    return (
        f"2 * asin(sqrt(sin(radians(dec - {DEC}) / 2) ** 2 "
        f"+ cos(radians(dec)) * {math.cos(math.radians(DEC))} * sin(radians(ra - {RA}) / 2) ** 2))"
    )


def both(
    ours: duckdb.DuckDBPyConnection, theirs: duckdb.DuckDBPyConnection, sql: str, plain: str
) -> tuple[float, float]:
    """The least seconds of each, asked in turn; AssertionError unless both give as many rows."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TIMES):
        rows = set[int]()
        for connection, question, kept in zip((ours, theirs), (sql, plain), times, strict=True):
            started = time.perf_counter()
            rows.add(len(connection.execute(question).fetchall()))
            kept.append(time.perf_counter() - started)
        assert len(rows) == 1, f"{sql}: {rows}"
    return min(times[0]), min(times[1])
