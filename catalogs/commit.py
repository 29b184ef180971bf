"""commit(): staged labels -> one published HATS catalog in which every staged row appears exactly once.

Everything is built in a hidden folder beside the catalog's place. hats.properties is written there last,
and a rename publishes the whole (in an object store: publish.py). A side catalog is cut from the same split
files; only when both are built and agree is the main one published, then the side. Every step keeps what an
interrupted commit has finished, so the same command goes on from where it was.

A catalog that follows a published version takes the rows of the tasks that are kept from there: partitions
without any change as they are, the others are built from rows that stay and rows that were staged.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import pyarrow as pa

from catalogs.checks import (
    complete,
    refuse_damage,
    refuse_duplicates,
    refuse_faults,
    refuse_nothing,
    refuse_strangers,
    stopped,
)
from catalogs.clock import Clock
from catalogs.files import clear, remove
from catalogs.follow import Followed
from catalogs.groups import group
from catalogs.layout import Layout, Product, sweep, write_atomic
from catalogs.metadata import NOTHING, published_schema, write_derived, write_manifest, write_properties
from catalogs.pixels import PixelPlan, align, tally, total
from catalogs.place import all_published, is_published
from catalogs.publish import publish
from catalogs.remote import Location
from catalogs.report import CommitReport, report
from catalogs.rowcheck import faulty
from catalogs.shuffle import Partition, Split, Target, parts, reduce, split
from catalogs.side import Part, catalogs_of
from catalogs.stage import receipts
from catalogs.takeover import Takeover
from catalogs.verify import verify_one
from catalogs.work import Mapper, OnStep, Work, silent
from engine.columns import schema
from engine.errors import CommitError, VerifyError
from engine.types import Receipt

__all__ = ["Mapper", "commit"]


def commit(
    layout: Layout,
    tasks_expected: Sequence[str],
    product: Product,
    *,
    manifest: Mapping[str, Any],
    failed_allowed: int,
    followed: Followed | None = None,
    mapper: Mapper = map,
    on_step: OnStep = silent,
) -> CommitReport:
    """Publish a run's staged labels, with a side catalog if asked; the same call again finishes what is left.

    What was built is verified before it takes its place. CommitError when receipts are missing, too many
    tasks failed, nothing was staged, keys are not unique, or anything is damaged: what is sound stays, so
    that the same command mends it. PlanError when the folder is taken.
    `manifest` is what the caller knows of the run; `on_step(step, done, of)` hears of progress. Of a version
    that is `followed`, the rows of the tasks that it says are kept are published too; they are not among
    `tasks_expected`. CommitError when it is damaged.
    """
    if already := all_published(layout):
        for folder in (layout.scratch, *(part.partial for part in layout.parts)):
            clear(folder)
        return report(layout, already=already)
    clock = Clock()
    staged = complete(receipts(layout), tasks_expected, failed_allowed)
    if followed is None:
        refuse_nothing(staged)
    work = Work(mapper=mapper, on_step=clock.hearing(on_step))
    job = _Job(
        layout=layout,
        product=product,
        staged=staged,
        takeover=None if followed is None else Takeover(layout=layout, followed=followed, work=work),
        manifest=manifest,
        work=work,
        clock=clock,
    )
    try:
        _build(job)
    except (OSError, pa.ArrowException, VerifyError) as error:
        raise stopped(layout, error) from error
    _tidy(layout)
    return report(layout, already=already)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What a commit is asked, and with what: `takeover` is there where a published version is followed."""

    layout: Layout
    product: Product
    staged: Sequence[Receipt]
    takeover: Takeover | None
    manifest: Mapping[str, Any]
    work: Work
    clock: Clock

    def digest(self) -> str:
        """All that the receipts say of the rows; not where and how fast, which a retry changes."""
        said = [replace(receipt, seconds={}, seen="", where="").to_dict() for receipt in self.staged]
        older = "" if self.takeover is None else self.takeover.followed.digest()
        return hashlib.sha256(f"{json.dumps(said, sort_keys=True)}{older}".encode()).hexdigest()


def _build(job: _Job) -> None:
    """From staged files to published folders: the straight line. Nothing is published unverified."""
    plan = _pixel_plan(job)
    splits = _splits(job, plan)
    left = [part for part in catalogs_of(job.layout, job.product) if not is_published(part.layout)]
    for part in left:
        _assemble(job, part, plan, splits)
    job.work.on_step("verify", 0, 1)
    _verify(job, left)
    for part in left:
        job.work.on_step("publish", 0, 1)
        publish(part.layout)
        job.work.on_step("publish", 1, 1)


def _assemble(job: _Job, part: Part, plan: PixelPlan, splits: Sequence[Split]) -> None:
    """One catalog, whole, in its hidden folder."""
    target = _target(part, job.product, plan)
    partitions = _partitions(job, part, target, plan, splits)
    job.work.on_step("describe", 0, 1)
    write_derived(part.layout.partial, plan, target.schema)
    write_manifest(
        part.layout,
        job.manifest,
        product=part.product,
        receipts=job.staged,
        partitions=partitions,
        commit_seconds=job.clock.seconds(),
        taken=NOTHING if job.takeover is None else job.takeover.said(part, plan),
    )
    write_properties(part.layout, plan, partitions)


def _verify(job: _Job, left: Sequence[Part]) -> None:
    """VerifyError or CommitError for what must not be published: each catalog, and the two together."""
    try:
        for part in left:
            verify_one(part.layout.partial)
    except VerifyError:
        step = partial(faulty, schema=schema(job.product.staged))
        found = job.work.each("look for the cause", step, group(job.layout.staging, job.staged))
        refuse_faults(job.layout, (fault for faults in found for fault in faults))
        raise
    refuse_strangers(job.layout)


def _pixel_plan(job: _Job) -> PixelPlan:
    """The saved cut of these very rows; else check them, cut anew and drop older scratch."""
    layout, product, digest = job.layout, job.product, job.digest()
    path = layout.scratch / "pixels.json"
    saved = _saved(path)
    if saved is not None and saved.staged == digest:
        return saved
    for folder in (layout.scratch, *(part.partial for part in layout.parts)):
        remove(folder)
    step = partial(tally, schema=schema(product.staged), side=[column.name for column in product.side])
    counted = total(job.work.each("histogram", step, group(layout.staging, job.staged)))
    refuse_damage(layout, counted.damages)
    stays = () if job.takeover is None else job.takeover.stays(product.keys)
    refuse_nothing(job.staged, sum(one.tally.rows for one in stays))
    job.work.on_step("keys", 0, 1)
    refuse_duplicates(layout, job.staged, product.keys, [one.keys for one in stays if one.keys is not None])
    job.work.on_step("keys", 1, 1)
    if job.takeover is None:
        plan = PixelPlan(staged=digest, tally=counted, pixels=align(counted, product.target_bytes))
    else:
        plan = job.takeover.recut(digest, counted, stays, product.target_bytes)
    write_atomic(path, plan.to_json())
    return plan


def _splits(job: _Job, plan: PixelPlan) -> Sequence[Split]:
    """All columns of the staged files by pixel; each file is read once, however many catalogs there are."""
    folder, columns = job.layout.scratch / "split", schema(job.product.staged)
    step = partial(split, pixels=plan.pixels, folder=folder, schema=columns)
    splits = list(job.work.each("split", step, group(job.layout.staging, job.staged)))
    refuse_damage(job.layout, (damage for one in splits for damage in one.damages))
    older = () if job.takeover is None else job.takeover.splits(plan, folder, columns)
    return [*splits, *older]


def _target(part: Part, product: Product, plan: PixelPlan) -> Target:
    return Target(
        folder=part.layout.partial,
        done=part.layout.scratch / f"done{part.layout.ending}",
        staged=schema(product.staged),
        schema=published_schema(part.product.columns, plan.tally.widths),
        keys=product.keys,
    )


def _partitions(
    job: _Job, part: Part, target: Target, plan: PixelPlan, splits: Sequence[Split]
) -> tuple[Partition, ...]:
    """One catalog's partitions, in the order of the sky."""
    step = partial(reduce, target=target)
    anew = [one for one in parts(plan.pixels, splits) if one.pixel.path not in plan.whole]
    taken = () if job.takeover is None else job.takeover.over(part, plan)
    partitions = _account(chain(taken, job.work.each("reduce", step, anew)), plan)
    sweep(part.layout.partial)
    return partitions


def _saved(path: Location) -> PixelPlan | None:
    try:
        return PixelPlan.from_json(path.read_bytes())
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _account(made: Iterable[Partition], plan: PixelPlan) -> tuple[Partition, ...]:
    """The partitions in the order of the sky; CommitError unless they hold every staged row."""
    by_path = {partition.path: partition for partition in made}
    partitions = tuple(by_path[pixel.path] for pixel in plan.pixels)
    rows = sum(partition.rows for partition in partitions)
    if rows != plan.tally.rows:
        raise CommitError(f"{plan.tally.rows} rows were staged but {rows} are in partitions: this is a bug")
    return partitions


def _tidy(layout: Layout) -> None:
    """Remove the scratch and what killed writers left; only once published, when no writer is at work.

    What cannot be removed does no harm.
    """
    clear(layout.scratch)
    with suppress(OSError):
        for folder in (layout.data, layout.receipts, layout.scratch):
            sweep(folder)
