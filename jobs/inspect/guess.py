"""Which survey a file belongs to: the one whose own reader can read it, whatever the file is called."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import pyarrow as pa

from engine.errors import InputError, PlanError, ShardError
from engine.spec import SurveySpec, TableColumns
from engine.surveys import SURVEYS
from engine.surveys.survey import Survey
from engine.types import Shard, Task

# Enough for a look; a file of any size is read no further.
MOST_ROWS = 256
# Characters of what each reader says of a file that it refuses.
MOST_WORDS = 140


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A file that a survey's reader understood: its shard and its first rows."""

    path: Path
    survey: Survey
    shard: Shard
    spectra: pa.Table


def guess(path: Path, table: TableColumns | None = None, survey: str | None = None) -> Guess:
    """The survey that can read a file; InputError that says what each reader found when none can.

    `table` tells the columns of a table of the user's own; `survey` asks one reader only. Each reader is
    shown the file under its own name first, and then under names that files of its survey have.
    """
    _refuse_no_file(path)
    asked = _asked(table, survey)
    refusals: dict[str, str] = {}
    for one in asked:
        for name in (path.name, *_usual_names(path, one)):
            try:
                return _read(path, name, one, table)
            except ShardError as error:
                refusals.setdefault(one.name, _short(error, name))
            except PlanError:
                # No file of this survey is called so.
                continue
    lines = [f"  {one.name}: {refusals.get(one.name) or _called(one)}" for one in asked]
    raise InputError(
        f"{path}: no survey's reader understands it:\n" + "\n".join(lines) + _remark(path, table)
    )


def _refuse_no_file(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a folder: name one file of it")
    if path.parts and path.parts[0] == "s3:":
        raise InputError(f"{path}: only files on this machine are looked at: copy one here first")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")


def _called(survey: Survey) -> str:
    return f"its files are called {', '.join(survey.files[:2])}"


def _remark(path: Path, table: TableColumns | None) -> str:
    if table is not None or path.suffix not in (".parquet", ".arrow", ".feather"):
        return ""
    return '\nA table of your own is read by survey = "table": a spec tells its columns; see `abundant plan`.'


def _asked(table: TableColumns | None, survey: str | None) -> list[Survey]:
    """The surveys to ask; a table of one's own only where its columns are told."""
    if survey is not None and survey not in SURVEYS:
        raise InputError(f"--survey {survey!r} is unknown; known: {', '.join(SURVEYS)}")
    everything = [s for s in SURVEYS.values() if survey in (None, s.name)]
    asked = [s for s in everything if s.name != "table" or table is not None]
    if not asked:
        raise InputError("--survey table: only a spec can tell the columns of a table; see `abundant plan`")
    return asked


def _read(path: Path, name: str, survey: Survey, table: TableColumns | None) -> Guess:
    """What a survey's reader finds in a file that stands alone under a name."""
    velocity = "redrock" if survey.name == "desi" else "none"
    plain = {"name": survey.name, "select": {"by": "all"}, "rv": {"from": velocity}, "table": table}
    with _alone(path, name, survey) as root:
        spec = SurveySpec.model_validate(plain | {"root": root})
        record = survey if survey.configure is None else survey.configure(spec)
        shard = next(iter(record.list_shards(spec)))
        task = Task(task_id="inspect", shard=shard, start=0, stop=min(shard.rows, MOST_ROWS))
        if shard.problem is not None:
            raise ShardError(shard.problem)
        if not shard.rows:
            raise ShardError("it has no rows")
        return Guess(path=path, survey=record, shard=shard, spectra=record.read(spec, task))


def _usual_names(path: Path, survey: Survey) -> list[str]:
    """Names of the survey's files with the ending of this one."""
    packed = ".gz" if path.suffix == ".gz" else ""
    ending = Path(path.name.removesuffix(".gz")).suffix
    return [usual + packed for usual in survey.files if Path(usual).suffix == ending]


@contextmanager
def _alone(path: Path, name: str, survey: Survey) -> Iterator[Path]:
    """A folder in which the file stands alone under a name, with what the survey reads together with it."""
    with tempfile.TemporaryDirectory(prefix="abundant-inspect-") as folder:
        root = Path(folder)
        (root / name).symlink_to(path.absolute())
        for other in _beside(path, survey) if name == path.name else ():
            (root / other.name).symlink_to(other.absolute())
        yield root


def _beside(path: Path, survey: Survey) -> list[Path]:
    """Redrock's file of a DESI file; the other cameras of a star of GALAH."""
    if survey.name == "desi":
        redrock = path.name.replace("coadd-", "redrock-").replace("spectra-", "redrock-")
        others = [path.with_name(redrock)]
    elif survey.name == "galah":
        stem = path.name.removesuffix(".fits")[:-1]
        others = [path.with_name(f"{stem}{camera}.fits") for camera in range(1, 5)]
    else:
        others = []
    return [other for other in others if other != path and other.is_file()]


def _short(error: Exception, name: str) -> str:
    """The end of a message, without the folder in which the file stood alone."""
    text = str(error).splitlines()[0]
    return shorten(text.rpartition(f"{name}: ")[2] or text, MOST_WORDS, placeholder=" …")
