"""One case: a survey with a broken file, listed and read; and what may come of that."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa

from engine.columns import schema
from engine.errors import PlanError, ShardError
from engine.spec import SurveySpec
from engine.surveys import survey_of
from engine.surveys.survey import Survey
from engine.types import Shard, Task
from tests.fuzz.mutate import mutate
from tests.fuzz.samples import Sample

# As many as a task of a run has by default.
TASK_ROWS = 512

Fate: TypeAlias = Literal["read", "refused", "not planned"]
"""What may become of a broken file: rows; a ShardError, raised or told by some rows; a PlanError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A sample with one of its files broken; the same for the same survey, seed and number."""

    survey: str
    seed: int
    number: int
    broken: str
    sample: Sample


class Broken(Exception):
    """A reader gave something that its contract does not allow."""


def case_of(survey: str, samples: Sequence[Sample], seed: int, number: int) -> Case:
    """A case by its number."""
    random = Random(f"{survey} {seed} {number}")
    sample = random.choice(samples)
    broken = random.choice(list(sample.files))
    files = {**sample.files, broken: mutate(sample.files[broken], random)}
    changed = Sample(form=sample.form, files=files, sections=sample.sections)
    return Case(survey=survey, seed=seed, number=number, broken=broken, sample=changed)


def write(sample: Sample, root: Path) -> None:
    """The files of a sample under a root."""
    for name, content in sample.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def attempt(case: Case, place: Path) -> Fate:
    """List and read a case in a new folder under `place`. Whatever it raises is a finding."""
    # Never twice the same folder: a reader may keep what it knows of one.
    root = place / f"{case.survey}-{case.number}"
    write(case.sample, root)
    try:
        return read(spec_of(case.survey, case.sample, root), Random(case.number))
    finally:
        shutil.rmtree(root)


def spec_of(survey: str, sample: Sample, root: Path) -> SurveySpec:
    """Every row of a sample that was written under a root."""
    plain = {"name": survey, "root": root, "select": {"by": "all"}, **sample.sections}
    return SurveySpec.model_validate(plain)


def read(spec: SurveySpec, random: Random) -> Fate:
    """List a root and read a range of rows of each shard."""
    survey = survey_of(spec)
    try:
        shards = list(survey.list_shards(spec))
    except PlanError:
        return "not planned"
    fates = [_read_shard(survey, spec, shard, random) for shard in shards]
    return "refused" if "refused" in fates else "read"


def _read_shard(survey: Survey, spec: SurveySpec, shard: Shard, random: Random) -> Fate:
    if shard.rows < 0:
        raise Broken("a shard of less than no rows")
    if shard.rows == 0 and shard.problem is None:
        # A table may be empty; no task is made of it.
        return "read"
    start = random.choice((0, random.randrange(max(1, shard.rows))))
    task = Task(task_id="fuzz", shard=shard, start=start, stop=min(shard.rows, start + TASK_ROWS))
    try:
        ids = survey.read_ids(spec, task)
    except ShardError as error:
        raise Broken(f"read_ids raised {type(error).__name__}: {error}") from error
    _check_ids(ids, task)
    try:
        table = survey.read(spec, task)
    except ShardError:
        return "refused"
    _check(table, survey, task)
    return "refused" if table["read_problem"].null_count < len(table) else "read"


def _check_ids(ids: pa.Table, task: Task) -> None:
    """Of a broken file there may be fewer, but no others."""
    rows = ids["row_in_shard"].to_pylist()
    if rows != sorted(set(rows) & set(range(task.start, task.stop))):
        raise Broken("read_ids gave rows that were not asked for")


def _check(table: pa.Table, survey: Survey, task: Task) -> None:
    """Broken unless a batch is what the contract says, whatever its numbers are."""
    if not table.schema.equals(schema(survey.columns)):
        raise Broken(f"the columns {table.schema}")
    if table["row_in_shard"].to_pylist() != list(range(task.start, task.stop)):
        raise Broken("read gave other rows than were asked for")
    for column in table.schema:
        if pa.types.is_floating(column.type):
            values = table[column.name].drop_null().to_numpy()
            if not np.isfinite(values).all():
                raise Broken(f"column {column.name} is not finite, expected NULL")
