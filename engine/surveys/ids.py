"""Lists of ids: which rows a spec selects, where a survey has no classes of its own."""

from functools import lru_cache
from pathlib import Path

import fitsio
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from engine.errors import PlanError
from engine.spec import SurveySpec


def check_selection(spec: SurveySpec, star_key: str) -> None:
    """PlanError unless the selection is one that a survey without target classes can make."""
    select = spec.select
    if select.by == "spectype":
        raise PlanError(f'survey.select.by: {spec.name} has no spectral classes; use "all" or "ids"')
    if select.by == "ids":
        listed_ids(select.path, star_key)


def selected(table: pa.Table, spec: SurveySpec, star_key: str) -> pa.Table:
    """The rows of a table whose id is in the spec's list; all of them when there is no list."""
    if spec.select.by != "ids":
        return table
    ids = listed_ids(spec.select.path, star_key)
    return table.filter(pc.call_function("is_in", [table[star_key]], pc.SetLookupOptions(ids)))


def listed_ids(path: Path | None, column: str) -> pa.Array:
    """The ids of a table, integers or text; read once per process. PlanError when they cannot be had."""
    if path is None or not path.is_file():
        raise PlanError(
            f'survey.select.path: by = "ids" needs a table with column {column}; {path} is no file'
        )
    return _listed_ids(path, column, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _listed_ids(path: Path, column: str, _mtime_ns: int) -> pa.Array:
    try:
        ids = _read_ids(path, column)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise PlanError(f"survey.select.path: {path} has no readable column {column}: {error}") from error
    if not (pa.types.is_integer(ids.type) or pa.types.is_string(ids.type)):
        # A float64 holds integers only up to 2**53, and most ids are larger.
        raise PlanError(f"survey.select.path: {column} in {path} is {ids.type}; store it as int64")
    if not len(ids):
        raise PlanError(f"survey.select.path: {path} lists no ids")
    return (ids.cast(pa.int64()) if pa.types.is_integer(ids.type) else ids).unique().drop_null()


def _read_ids(path: Path, column: str) -> pa.Array:
    if path.suffix == ".parquet":
        return pq.read_table(path, columns=[column])[column].combine_chunks()
    if path.suffix == ".csv":
        return pyarrow.csv.read_csv(path)[column].combine_chunks()
    with fitsio.FITS(str(path)) as library:
        values = library[1].read_column(column)
    return pa.array(values.astype(values.dtype.newbyteorder("=")))
