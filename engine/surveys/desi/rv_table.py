"""Whether a table of velocities can be used: asked in the plan, before it is read."""

from pathlib import Path

import fitsio
import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import PlanError
from engine.spec import Velocity

# Columns of each kind of table: first those that must be there, last those that tell a target's rows apart.
# Each with what it must be stored as; integers will do for float64.
COLUMNS = {
    "rvtab": {
        "TARGETID": "int64",
        "VRAD": "float64",
        "VRAD_ERR": "float64",
        "RVS_WARN": "int64",
        "RR_Z": "float64",
        "SURVEY": "text",
        "PROGRAM": "text",
        "HEALPIX": "int64",
    },
    "table": {
        "targetid": "int64",
        "rv": "float64",
        "rv_err": "float64",
        "survey": "text",
        "program": "text",
    },
}
FITTING = {"int64": {"int64"}, "float64": {"int64", "float64"}, "text": {"text"}}
NEEDED = 2


def check_velocity(rv: Velocity) -> None:
    """PlanError unless the file of velocities is there, has rows, and all its columns have the right type."""
    if rv.source in COLUMNS:
        usable_columns(rv.source, velocity_path(rv))


def velocity_path(rv: Velocity) -> Path:
    """The file that `from` asks for; PlanError when there is none."""
    if rv.path is None or not rv.path.is_file():
        raise PlanError(f'survey.rv.path: from = "{rv.source}" needs a file of velocities; {rv.path} is none')
    return rv.path


def usable_columns(source: str, path: Path) -> list[str]:
    """Those columns we use that the table has; PlanError unless the table can be used."""
    try:
        there, rows = (_of_parquet if source == "table" else _of_rvtab)(path)
    except (OSError, ValueError) as error:
        raise PlanError(f"survey.rv.path: {path} is not a {source} of velocities: {error}") from error
    wanted = COLUMNS[source]
    needed = list(wanted)[:NEEDED]
    if missing := [column for column in needed if column not in there]:
        raise PlanError(f"survey.rv.path: {path} has no column {', '.join(missing)}; add it")
    if not rows:
        raise PlanError(f'survey.rv.path: {path} has no rows; fill it, or run without it (rv.from = "none")')
    found = [column for column in wanted if column in there]
    for column in found:
        # Not cast: a float64 holds integers only up to 2**53, and most TARGETIDs are larger.
        # What is not needed may be NULL everywhere, which has no type in Parquet.
        fitting = FITTING[wanted[column]] if column in needed else FITTING[wanted[column]] | {"NULL"}
        if there[column] not in fitting:
            raise PlanError(
                f"survey.rv.path: {column} in {path} is {there[column]}; store it as {wanted[column]}"
            )
    return found


def _of_parquet(path: Path) -> tuple[dict[str, str], int]:
    """What each column of a Parquet table holds, and its rows."""
    with pq.ParquetFile(path) as file:
        return {field.name: _held(field.type) for field in file.schema_arrow}, file.metadata.num_rows


def _held(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "int64"
    if pa.types.is_floating(kind):
        return "float64"
    word = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_string(word) or pa.types.is_large_string(word):
        return "text"
    return "NULL" if pa.types.is_null(kind) else str(kind)


def _of_rvtab(path: Path) -> tuple[dict[str, str], int]:
    """What each column of the HDU RVTAB holds, and its rows; OSError when there is no such table."""
    with fitsio.FITS(str(path)) as library:
        table = library["RVTAB"]
        if not isinstance(table, fitsio.hdu.TableHDU):
            raise OSError("HDU RVTAB is an image")
        kinds, rows = table.get_rec_dtype()[0], table.get_nrows()
    held = {"i": "int64", "u": "int64", "f": "float64", "S": "text", "U": "text"}
    return {name: held.get(kinds[name].kind, str(kinds[name])) for name in kinds.names or ()}, rows
