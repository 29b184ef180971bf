"""Which settings to train with: points of the ranges that a spec gives, and what came of trying them.

Where they are tried is the runtime's. Trials that are done are a table in the training's folder, written anew
after each: the same search goes on with the others, and a finished one is not done again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from engine.errors import RunError, SpecError
from engine.spec import digest
from engine.toml import complaints, strictly
from engine.train.members import Lesson
from engine.train.spec import Range, Search, Training

TRIALS, KEY = "trials.parquet", b"abundant_search"
Point: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A point that was tried: how many epochs it was given, and its least validation loss."""

    number: int
    epochs: int
    validation_loss: float


OnTrial: TypeAlias = Callable[[Trial], None]
Try: TypeAlias = Callable[[Lesson, Search, Mapping[int, Point], OnTrial], Sequence[Trial]]
"""Tries points, by their number, and tells of each trial that is done."""


def points_of(search: Search) -> list[Point]:
    """The points to try, a function of the seed alone."""
    random = np.random.default_rng(search.seed)
    return [
        {key: _drawn(search.ranges[key], random) for key in sorted(search.ranges)}
        for _ in range(search.trials)
    ]


def _drawn(span: Range, random: np.random.Generator) -> Any:
    if span.choice is not None:
        return span.choice[int(random.integers(len(span.choice)))]
    if span.loguniform is not None:
        return float(np.exp(random.uniform(*np.log(span.loguniform))))
    assert span.uniform is not None
    return float(random.uniform(*span.uniform))


def at(lesson: Lesson, point: Point) -> Lesson:
    """The lesson with the settings of a point; SpecError for what they cannot be."""
    plain = {
        "training": lesson.settings.model_dump(mode="json"),
        "model.hyper": lesson.hyper.model_dump(mode="json"),
    }
    for key, value in point.items():
        section, _, name = key.rpartition(".")
        where = plain.get(section)
        if where is None or name not in where:
            raise SpecError(f"search.ranges: there is no {key}")
        where[name] = value
    try:
        settings = strictly(plain["training"], Training)
        hyper = strictly(plain["model.hyper"], type(lesson.hyper))
    except ValidationError as error:
        raise SpecError(f"search.ranges, at {dict(point)}:\n{complaints(error, Training)}") from None
    return replace(lesson, settings=settings, hyper=hyper)


def searched(lesson: Lesson, search: Search, attempt: Try) -> tuple[Lesson, dict[str, Any]]:
    """The lesson at the best point, and for the card what was found; trials are kept beside the bundle."""
    points = points_of(search)
    for point in points:
        at(lesson, point)
    trials = _tried(lesson, search, points, attempt)
    finite = [trial for trial in trials if np.isfinite(trial.validation_loss)]
    if not finite:
        raise RunError("every trial of [search] ended with a loss that is no number; see the ranges")
    best = min(finite, key=lambda trial: trial.validation_loss)
    found = {
        "trials": len(trials),
        "best": dict(points[best.number]),
        "validation_loss": best.validation_loss,
        "epochs": best.epochs,
    }
    return at(lesson, points[best.number]), found


def _tried(lesson: Lesson, search: Search, points: Sequence[Point], attempt: Try) -> list[Trial]:
    """A trial of each point, of which those that are on record are not done again."""
    path = lesson.place / TRIALS
    done = {trial.number: trial for trial in _known(path, lesson, search)}

    def on_trial(trial: Trial) -> None:
        done[trial.number] = trial
        _keep(path, lesson, search, points, list(done.values()))

    missing = {number: point for number, point in enumerate(points) if number not in done}
    if missing:
        # A trial that broke down is told of only here, and counts as done: it would break down again.
        done |= {trial.number: trial for trial in attempt(lesson, search, missing, on_trial)}
        _keep(path, lesson, search, points, list(done.values()))
    return [done[number] for number in sorted(done)]


def _digest(lesson: Lesson, search: Search) -> bytes:
    identity = lesson.identity
    return digest([identity.spec, identity.data, identity.code, search.model_dump(mode="json")]).encode()


def _keep(
    path: Path, lesson: Lesson, search: Search, points: Sequence[Point], trials: Sequence[Trial]
) -> None:
    """Write the table, which a reader sees whole or not at all; RunError, with the remedy, where it fails."""
    trials = sorted(trials, key=lambda trial: trial.number)
    columns: dict[str, list[Any]] = {
        "trial": [trial.number for trial in trials],
        "epochs": [trial.epochs for trial in trials],
        "validation_loss": [trial.validation_loss for trial in trials],
    }
    for key in points[0]:
        values = [points[trial.number][key] for trial in trials]
        plain = all(isinstance(value, int | float | str) for value in values)
        columns[key] = values if plain else [str(value) for value in values]
    table = pa.table(columns).replace_schema_metadata({KEY: _digest(lesson, search)})
    beside = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, beside)
        beside.replace(path)
    except OSError as error:
        raise RunError(
            f"{path} cannot be written: {error}; make room there, and the same command goes on after the "
            "trials that were kept"
        ) from error


def _known(path: Path, lesson: Lesson, search: Search) -> list[Trial]:
    """The trials of the same search on the same stars that are done; none of a table that is damaged."""
    try:
        table = pq.read_table(path)
    except (FileNotFoundError, pa.ArrowException):
        return []
    if (table.schema.metadata or {}).get(KEY) != _digest(lesson, search):
        return []
    columns = (table[name].to_pylist() for name in ("trial", "epochs", "validation_loss"))
    return [
        Trial(number=number, epochs=epochs, validation_loss=loss)
        for number, epochs, loss in zip(*columns, strict=True)
    ]
