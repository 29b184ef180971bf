"""`abundant status`: how a run or a training stands, from its own folder alone."""

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from catalogs.layout import PLAN, Layout
from catalogs.manifest import read_manifest
from catalogs.place import is_sealed
from catalogs.remote import Location
from catalogs.state import Standing, layout_at, standing
from engine.errors import InputError
from engine.plan import work_digest_in
from engine.spec import RunSpec
from engine.train.checkpoint import PREFIX
from engine.train.log import epochs_of
from engine.train.spec import TrainSpec
from engine.train.state import Epoch
from jobs.progress import epoch_remark
from jobs.show import pairs
from jobs.submit.named import Run, layout_of_spec
from jobs.submit.record import job_of

SHOWN = 10


def status(run: Run) -> Table:
    """How a run stands, for people; InputError where there is nothing of it."""
    table = pairs()
    for name, value in (*_lines(run), *_job(run.place)):
        table.add_row(name, escape(value))
    return table


def _lines(run: Run) -> Iterator[tuple[str, str]]:
    if run.is_training:
        yield from _training(run)
    elif (run.place / PLAN).exists():
        yield from _catalog(standing(layout_at(run.place)))
    elif job_of(run.place) is not None:
        yield "run", f"{run.place}, not begun yet"
    elif isinstance(run.spec, RunSpec):
        yield from _without_staging(layout_of_spec(run.spec))
    else:
        yield from _catalog(standing(layout_at(run.place)))


def _catalog(found: Standing) -> Iterator[tuple[str, str]]:
    yield "run", str(found.layout.staging)
    yield "catalog", f"{found.layout.catalog}, {_published(found)}"
    yield "tasks", f"{found.done:,} of {found.tasks:,} done, {found.failed:,} failed, {found.left:,} left"
    yield "rows", f"{found.rows:,} staged: {found.flagged:,} flagged, {found.no_result:,} without result"
    yield "driver", _driver(found)
    if found.rate is not None and found.done:
        rows = found.rate * found.rows / (found.done + found.failed)
        yield "rate", f"{rows:,.0f} rows/s since the driver's first task"
    if found.left_s is not None and found.left:
        yield "time left", f"about {timedelta(seconds=round(found.left_s))}"
    for host, rows in list(found.hosts.items())[:SHOWN]:
        yield f"by {host or 'an unknown host'}", f"{rows:,} rows"
    for reason, tasks in sorted(found.reasons.items(), key=lambda item: -item[1])[:SHOWN]:
        yield "failed", f"{tasks:,} tasks: {reason}"


def _published(found: Standing) -> str:
    if found.published:
        return "published"
    return f"not published: {found.obstacle}" if found.obstacle else "not published yet"


def _driver(found: Standing) -> str:
    """Who drives the run, and whether he lives."""
    if found.holder is None:
        return "nobody" if found.published else "nobody; the same command goes on"
    who = f"process {found.holder.pid} on {found.holder.host} since {_time(found.holder.start)}"
    heard = f"last heard of {found.heard_s:.0f} s ago"
    return f"{who}, {heard}" if found.alive else f"dead ({who}, {heard}); the same command goes on"


def _without_staging(layout: Layout) -> Iterator[tuple[str, str]]:
    """A run whose staging was deleted after it was published, or that never began; InputError."""
    if not is_sealed(layout.catalog):
        raise InputError(f"{layout.staging}: there is nothing of this run: it has not begun")
    own = work_digest_in(read_manifest(layout.catalog).get("plan", {})) == layout.work_digest
    yield "run", f"{layout.staging}, deleted since"
    yield "catalog", f"{layout.catalog}, {'published' if own else 'published by another run'}"


def _training(run: Run) -> Iterator[tuple[str, str]]:
    place = Path(str(run.place))
    yield "training", str(place)
    yield "bundle", _bundle(place)
    members = sorted(place.glob("member-*"), key=lambda folder: int(folder.name.partition("-")[2]))
    if not members:
        yield "epochs", "none yet"
    for folder in members:
        yield folder.name.replace("-", " "), _member(folder, epochs_of(folder, after=0), run.spec)


def _bundle(place: Path) -> str:
    out = place.with_name(place.name.removesuffix("-training"))
    return f"{out}, {'written' if (out / 'card.toml').is_file() else 'not written yet'}"


def _member(folder: Path, epochs: Sequence[Epoch], spec: object) -> str:
    """How far a network is: its epochs, losses, the newest checkpoint, and when it last said something."""
    if not epochs:
        return "no epoch yet"
    of = f" of {spec.training.epochs:,}" if isinstance(spec, TrainSpec) else ""
    kept = sorted(one.name for one in folder.glob(f"{PREFIX}*"))
    checkpoint = f"; checkpoint of epoch {int(kept[-1].removeprefix(PREFIX)):,}" if kept else ""
    said = time.time() - (folder / "log.jsonl").stat().st_mtime
    return f"{len(epochs):,} epochs{of}, {epoch_remark(epochs[-1])}{checkpoint}; {said:,.0f} s ago"


def _job(place: Location) -> Iterator[tuple[str, str]]:
    if (job := job_of(place)) is not None:
        yield "job", f"{job.job_id} at {job.address}, handed in {_time(job.submitted)}"


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
