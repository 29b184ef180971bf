"""Lists of ids: which rows a spec selects, where a survey has no classes of its own."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import fitsio
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from engine.errors import PlanError
from engine.spec import Select, SurveySpec
from engine.surveys.pinned import once


def check_selection(spec: SurveySpec, star_key: str) -> None:
    """PlanError unless the selection is one that a survey without target bits and classes can make.

    A spec that says nothing selects every row.
    """
    select = spec.select
    if select.by in ("targets", "spectype") and "by" in select.model_fields_set:
        lacking = {"targets": "target bits", "spectype": "spectral classes"}[select.by]
        raise PlanError(f'survey.select.by: {spec.name} has no {lacking}; use "all" or "ids"')
    if select.by == "ids":
        listed_ids(select, star_key)


def selected(table: pa.Table, spec: SurveySpec, star_key: str) -> pa.Table:
    """The rows of a table whose id is in the spec's list; all of them when there is no list."""
    if spec.select.by != "ids":
        return table
    ids = listed_ids(spec.select, star_key)
    return table.filter(pc.call_function("is_in", [table[star_key]], pc.SetLookupOptions(ids)))


def listed_ids(select: Select, column: str) -> pa.Array:
    """The ids of the selection's table, integers or text. PlanError when they cannot be had."""
    if select.path is None or not select.path.is_file():
        raise PlanError(
            f'survey.select.path: by = "ids" needs a table with column {column}; {select.path} is no file'
        )
    return _reader(column)(select.path, select.sha256)


@cache
def _reader(column: str) -> Callable[[Path, str | None], pa.Array]:
    return once(partial(_listed_ids, column))


def _listed_ids(column: str, path: Path) -> pa.Array:
    try:
        ids = _read_ids(path, column)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise PlanError(f"survey.select.path: {path} has no readable column {column}: {reason}") from error
    if not len(ids):
        raise PlanError(f"survey.select.path: {path} has no rows; list the ids to label")
    if not (pa.types.is_integer(ids.type) or pa.types.is_string(ids.type)):
        # A float64 holds integers only up to 2**53, and most ids are larger.
        raise PlanError(
            f"survey.select.path: {column} in {path} is {ids.type}; store it as int64, with no cell empty"
        )
    if ids.null_count:
        raise PlanError(f"survey.select.path: {column} in {path} must be listed with no cell empty")
    return (ids.cast(pa.int64()) if pa.types.is_integer(ids.type) else ids).unique()


def _read_ids(path: Path, column: str) -> pa.Array:
    if path.suffix == ".parquet":
        return pq.read_table(path, columns=[column])[column].combine_chunks()
    if path.suffix == ".csv":
        return pyarrow.csv.read_csv(path)[column].combine_chunks()
    with fitsio.FITS(str(path)) as library:
        if not isinstance(library[1], fitsio.hdu.TableHDU):
            raise OSError("its first extension is an image, expected a table")
        values = library[1].read_column(column)
    return pa.array(values.astype(values.dtype.newbyteorder("=")))
