"""Which survey a file belongs to: the one whose own reader can read it, whatever the file is called."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from engine.errors import InputError, PlanError, ShardError
from engine.spec import SurveySpec, TableColumns
from engine.surveys import SURVEYS
from engine.surveys.survey import Survey
from engine.types import Shard, Task

# Enough for a look; a file of any size is read no further.
MOST_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A file that a survey's reader understood: its shard and its first rows."""

    path: Path
    survey: Survey
    shard: Shard
    spectra: pa.Table


def guess(path: Path, table: TableColumns | None = None, survey: str | None = None) -> Guess:
    """The survey that can read a file; InputError that says what each reader found when none can.

    `table` tells the columns of a table of the user's own; `survey` asks one reader only.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    refusals = []
    for one in _candidates(path, table, survey):
        try:
            return _read(path, one, table)
        except (ShardError, PlanError) as error:
            refusals.append(f"  {one.name}: {_short(error, path)}")
    raise InputError(f"{path}: no survey's reader understands it:\n" + "\n".join(refusals))


def _candidates(path: Path, table: TableColumns | None, survey: str | None) -> list[Survey]:
    """The surveys to ask: first those among whose files this name is usual."""
    if survey is not None and survey not in SURVEYS:
        raise InputError(f"--survey {survey!r} is unknown; known: {', '.join(SURVEYS)}")
    asked = [s for s in SURVEYS.values() if survey in (None, s.name)]
    asked = [s for s in asked if (s.name == "table") <= (table is not None)]
    return sorted(asked, key=lambda s: not any(path.match(usual) for usual in s.files))


def _read(path: Path, survey: Survey, table: TableColumns | None) -> Guess:
    plain = {"name": survey.name, "select": {"by": "all"}, "rv": {"from": _velocity(survey)}, "table": table}
    problem: ShardError | PlanError = ShardError(f"its files are called {', '.join(survey.files)}")
    for name in _names(path, survey):
        with _alone(path, name) as root:
            spec = SurveySpec.model_validate(plain | {"root": root})
            record = survey if survey.configure is None else survey.configure(spec)
            try:
                shard = next(iter(record.list_shards(spec)))
                task = Task(task_id="inspect", shard=shard, start=0, stop=min(shard.rows, MOST_ROWS))
                if shard.problem is not None:
                    raise ShardError(shard.problem)
                if shard.rows:
                    return Guess(path=path, survey=record, shard=shard, spectra=record.read(spec, task))
            except (ShardError, PlanError) as error:
                problem = error
    raise problem


def _velocity(survey: Survey) -> str:
    return "redrock" if survey.name == "desi" else "none"


def _names(path: Path, survey: Survey) -> Iterator[str]:
    """The file's own name where it is usual, else each name under which the survey would look for it."""
    if any(path.match(usual) for usual in survey.files):
        yield path.name
        return
    packed = ".gz" if path.suffix == ".gz" else ""
    suffix = path.with_suffix("").suffix if packed else path.suffix
    for usual in survey.files:
        if Path(usual).suffix == suffix:
            yield usual.replace("*", "file") + packed


@contextmanager
def _alone(path: Path, name: str) -> Iterator[Path]:
    """A folder in which the file stands alone under a name, with what usually lies beside it."""
    with tempfile.TemporaryDirectory(prefix="abundant-inspect-") as folder:
        root = Path(folder)
        (root / name).symlink_to(path.absolute())
        redrock = path.name.replace("coadd-", "redrock-").replace("spectra-", "redrock-")
        if name == path.name and redrock != path.name and path.with_name(redrock).exists():
            (root / redrock).symlink_to(path.with_name(redrock).absolute())
        yield root


def _short(error: Exception, path: Path) -> str:
    """The end of a message, without the folder of the symlink."""
    text = str(error).splitlines()[0]
    return text.rpartition(f"{path.name}: ")[2] or text
