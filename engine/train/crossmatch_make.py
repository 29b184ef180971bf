"""The stars of a training set, written to a folder task by task, and what set.json says of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from engine.auxiliary import join
from engine.errors import PlanError, ShardError, ShardUnavailable
from engine.spec import digest
from engine.surveys.tasks import cut
from engine.train.crossmatch_rows import Road, follow
from engine.train.crossmatch_tally import Step, Tally
from engine.train.store import FORMAT, stars_schema
from engine.train.store_stars import PARTS
from engine.train.store_write import Writer, thinned, write_about
from engine.types import Shard

# Few enough that their arrays fit into memory, whatever the survey and the size of its files.
ROWS_AT_ONCE = 512
VERSIONS = ("abundant", "astropy", "duckdb", "numpy", "pyarrow", "scipy")
OnShard: TypeAlias = Callable[[int, int], None]


def make_set(
    folder: Path, road: Road, shards: Sequence[Shard], asked: Mapping[str, Any], on_shard: OnShard
) -> None:
    """Fill a folder with the stars of a training set."""
    spec, architecture, names = road.spec, road.architecture, road.rules.steps
    shape = {"pixels": architecture.input.pixels, "extras": sum(extra.size for extra in architecture.extras)}
    schema = stars_schema(road.survey.keys, spec.labels.names, spec.labels.reference, **shape)
    writer, tally = Writer(_made(folder / "all") if road.rules.best else folder, schema), Tally()
    _write_tasks(road, shards, writer, tally, on_shard)
    steps = tally.steps(names)
    _refuse_nothing(steps, road, tally)
    keep_N = np.ones(steps[-1].spectra, bool)
    if road.rules.best is not None:
        keep_N, every, writer = tally.best(len(names)), writer, Writer(folder, schema)
        thinned(folder / "all", every.files, keep_N, writer)
        (folder / "all").rmdir()
        steps.append(Step(name="best_snr", spectra=int(keep_N.sum()), stars=steps[-1].stars))
    write_about(folder, _about(road, asked, tally, steps, keep_N) | {"shape": shape, "files": writer.files})


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _write_tasks(
    road: Road, shards: Sequence[Shard], writer: Writer, tally: Tally, on_shard: OnShard
) -> None:
    """Every task of a survey, one after the other. Those that cannot be read are counted and passed over."""
    tasks = [task for shard in shards for task in cut(shard, ROWS_AT_ONCE)]
    for done, task in enumerate(tasks, start=1):
        try:
            spectra = join(road.survey.read(road.spec.survey, task), road.tables)
        except ShardError as error:
            tally.unreadable_tasks += 1
            tally.unavailable_tasks += isinstance(error, ShardUnavailable)
        else:
            if (rows := follow(road, spectra, tally)) is not None:
                writer.add(rows)
        on_shard(done, len(tasks))
    writer.close()


def _refuse_nothing(steps: Sequence[Step], road: Road, tally: Tally) -> None:
    """PlanError when no spectrum is left, with where they were lost."""
    if steps[-1].spectra:
        return
    left = ", ".join(f"{step.spectra} {step.name}" for step in steps)
    lost = next(step.name for step in steps if not step.spectra)
    remedy = {
        "spectra": f"check [survey]: {tally.unreadable_tasks} tasks could not be read",
        "with_labels": f"check [labels] {'sky' if road.labels.sky else 'key'} against the survey: no "
        f"spectrum of it is among the {road.labels.about.rows} rows of {road.spec.labels.path}",
    }.get(
        lost,
        f"nothing passes {lost}: loosen it in [cuts]" if lost in road.spec.cuts.named else "check [cuts]",
    )
    raise PlanError(f"no spectrum is left to train on ({left}): {remedy}")


def _about(
    road: Road, asked: Mapping[str, Any], tally: Tally, steps: Sequence[Step], keep_N: np.ndarray
) -> dict[str, Any]:
    """What set.json says: what was asked, and what came of it."""
    part_N, star_N = tally.parts()[keep_N], tally.left(len(road.rules.steps))[keep_N]
    counts = {step.name: step.spectra for step in steps[:3]}
    return {
        "format": FORMAT,
        "digest": digest(asked),
        "asked": asked,
        "versions": {name: version(name) for name in VERSIONS},
        "label_table": {"name": road.spec.labels.path.name, **asdict(road.labels.about)},
        "labels": list(road.spec.labels.names),
        "references": sorted(road.spec.labels.reference),
        "counts": counts | {"unreadable_tasks": tally.unreadable_tasks, "after_cuts": steps[-1].spectra},
        "unavailable_tasks": tally.unavailable_tasks,
        "ambiguous": tally.ambiguous,
        "steps": [asdict(step) for step in steps],
        "cuts": road.spec.cuts.named,
        "parts": {
            part: {
                "spectra": int((part_N == i).sum()),
                "stars": len(np.unique(star_N[part_N == i])),
            }
            for i, part in enumerate(PARTS)
        },
    }
