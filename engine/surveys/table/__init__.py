"""Any Parquet or Arrow table with flux, errors, wavelengths and ids: how a user brings a survey of their own.

`reader.py` is the straight line, `files.py` gives pieces of a file, `arrays.py` their arrays, `checks.py`
refuses what contradicts the spec.
"""

import re
from dataclasses import replace
from typing import Any

import pyarrow as pa

from engine.errors import PlanError
from engine.spec import SurveySpec, TableColumns
from engine.surveys.star_files import Files, with_files
from engine.surveys.survey import Facts, Place, Survey
from engine.surveys.table.files import ENDINGS, count
from engine.surveys.table.reader import read
from engine.types import Arm, Column, Grid, Waves

EXAMPLE = """[survey]
name = "table"
root = "spectra"

[survey.table]
id = "star_id"         # integers, or text with id_type = "text"
flux = "flux"          # one array per row
ivar = "ivar"          # or error = "sigma"
grid = [6475.0, 0.1]   # first wavelength and step; or wave = "wave" with span = [6475.0, 6785.0]
pixels = 3101
frame = "rest"
medium = "air"
"""


def configure(spec: SurveySpec) -> Survey:
    """The survey that a spec's [survey.table] describes; PlanError, with an example, when there is none."""
    if spec.table is None:
        raise PlanError(f'survey.table: survey.name = "table" needs it, for example\n\n{EXAMPLE}')
    table = spec.table
    facts = replace(
        FACTS,
        keys=(_key(table),),
        arms=(Arm(name="table", grid=_axis(table)),),
        frame=table.frame,
        medium=table.medium,
    )
    return with_files(facts, FILES)


def from_name(_name: str) -> dict[str, Any]:
    """Nothing: a table's name says nothing of its rows."""
    return {}


def _axis(table: TableColumns) -> Grid | Waves:
    if table.grid is not None:
        return Grid(start=table.grid[0], step=table.grid[1], pixels=table.pixels, spacing=table.spacing)
    assert table.span is not None
    return Waves(pixels=table.pixels, low=table.span[0], high=table.span[1])


def _key(table: TableColumns) -> Column:
    return Column(
        name="id",
        type=pa.int64() if table.id_type == "integer" else pa.string(),
        ucd="meta.id;meta.main",
        description=f"Column {table.id} of the input table",
    )


FILES = Files(
    pattern=re.compile(r".+\.(" + "|".join(ENDINGS) + ")"),
    example="*.parquet, *.arrow, *.feather or *.ipc",
    count=count,
    read=read,
    from_name=from_name,
)

# Before `configure`, nothing is known of its arms.
FACTS = Facts(
    name="table",
    title="Any Parquet or Arrow table with flux, errors, wavelengths and ids",
    reference="yours: [survey.table] names the columns",
    keys=(Column(name="id", type=pa.int64(), ucd="meta.id;meta.main", description="Id of the input table"),),
    star_key="id",
    files=("spectra.parquet", "spectra.arrow"),
    arms=(),
    frame="rest",
    medium="vacuum",
    place=Place(remark="its one table"),
    follows=frozenset({"table"}),
    configure=configure,
)

TABLE = with_files(FACTS, FILES)
