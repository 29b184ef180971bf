"""commit(): staged labels -> one published HATS catalog in which every staged row appears exactly once.

Everything is built in a hidden folder beside the catalog's place. hats.properties is written there last,
and a rename publishes the whole (in an object store: publish.py). A side catalog is cut from the same split
files; only when both are built and agree is the main one published, then the side. Every step keeps what an
interrupted commit has finished, so the same command goes on from where it was.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from catalogs.checks import (
    complete,
    refuse_damage,
    refuse_duplicates,
    refuse_faults,
    refuse_strangers,
    stopped,
)
from catalogs.files import clear, remove
from catalogs.groups import group
from catalogs.layout import Layout, Product, sweep, write_atomic
from catalogs.metadata import published_schema, write_derived, write_manifest, write_properties
from catalogs.pixels import PixelPlan, align, tally, total
from catalogs.place import all_published, is_published
from catalogs.publish import publish
from catalogs.remote import Location
from catalogs.report import CommitReport, report
from catalogs.rowcheck import faulty
from catalogs.shuffle import Partition, Split, Target, parts, reduce, split
from catalogs.side import Part, catalogs_of
from catalogs.stage import receipts
from catalogs.verify import verify_one
from engine.columns import schema
from engine.errors import CommitError, VerifyError
from engine.types import Receipt

A = TypeVar("A")
B = TypeVar("B")


class Mapper(Protocol):
    """Applies a picklable function to every item, anywhere, and gives the results in any order."""

    def __call__(self, function: Callable[[A], B], items: Sequence[A], /) -> Iterable[B]: ...


OnStep = Callable[[str, int, int], None]


def _silent(_step: str, _done: int, _of: int) -> None:
    """Progress that nobody wants to hear of."""


def commit(
    layout: Layout,
    tasks_expected: Sequence[str],
    product: Product,
    *,
    manifest: Mapping[str, Any],
    failed_allowed: int,
    mapper: Mapper = map,
    on_step: OnStep = _silent,
) -> CommitReport:
    """Publish a run's staged labels, with a side catalog if asked; the same call again finishes what is left.

    What was built is verified before it takes its place. CommitError when receipts are missing, too many
    tasks failed, nothing was staged, keys are not unique, or anything is damaged: what is sound stays, so
    that the same command mends it. PlanError when the folder is taken.
    `manifest` is what the caller knows of the run; `on_step(step, done, of)` hears of progress.
    """
    if already := all_published(layout):
        for folder in (layout.scratch, *(part.partial for part in layout.parts)):
            clear(folder)
        return report(layout, already=already)
    staged = complete(receipts(layout), tasks_expected, failed_allowed)
    try:
        _build(layout, staged, product, manifest, _Work(mapper=mapper, on_step=on_step))
    except (OSError, pa.ArrowException, VerifyError) as error:
        raise stopped(layout, error) from error
    _tidy(layout)
    return report(layout, already=already)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    mapper: Mapper
    on_step: OnStep

    def each(self, step: str, function: Callable[[A], B], items: Sequence[A]) -> Iterator[B]:
        """The results in any order; every one is told to `on_step`."""
        self.on_step(step, 0, len(items))
        for done, result in enumerate(self.mapper(function, items), start=1):
            self.on_step(step, done, len(items))
            yield result


def _build(
    layout: Layout, staged: Sequence[Receipt], product: Product, manifest: Mapping[str, Any], work: _Work
) -> None:
    """From staged files to published folders: the straight line. Nothing is published unverified."""
    plan = _pixel_plan(layout, staged, product, work)
    splits = _splits(layout, staged, product, plan, work)
    left = [part for part in catalogs_of(layout, product) if not is_published(part.layout)]
    for part in left:
        partitions = _partitions(part, _target(part, product, plan), plan, splits, work)
        work.on_step("describe", 0, 1)
        write_derived(part.layout.partial, plan)
        write_manifest(part.layout, manifest, product=part.product, receipts=staged, partitions=partitions)
        write_properties(part.layout, plan, partitions)
    work.on_step("verify", 0, 1)
    _verify(layout, staged, product, left, work)
    for part in left:
        work.on_step("publish", 0, 1)
        _publish(part.layout)
        work.on_step("publish", 1, 1)


def _verify(
    layout: Layout, staged: Sequence[Receipt], product: Product, left: Sequence[Part], work: _Work
) -> None:
    """VerifyError or CommitError for what must not be published: each catalog, and the two together."""
    try:
        for part in left:
            verify_one(part.layout.partial)
    except VerifyError:
        step = partial(faulty, schema=schema(product.staged))
        found = work.each("look for the cause", step, group(layout.staging, staged))
        refuse_faults(layout, (fault for faults in found for fault in faults))
        raise
    refuse_strangers(layout)


def _pixel_plan(layout: Layout, staged: Sequence[Receipt], product: Product, work: _Work) -> PixelPlan:
    """The saved cut of these very staged files; else check them, cut anew and drop older scratch."""
    digest = _digest(staged)
    path = layout.scratch / "pixels.json"
    saved = _saved(path)
    if saved is not None and saved.staged == digest:
        return saved
    for folder in (layout.scratch, *(part.partial for part in layout.parts)):
        remove(folder)
    groups = group(layout.staging, staged)
    step = partial(tally, schema=schema(product.staged), side=[column.name for column in product.side])
    counted = total(work.each("histogram", step, groups))
    refuse_damage(layout, counted.damages)
    work.on_step("keys", 0, 1)
    refuse_duplicates(layout, staged, product.keys)
    work.on_step("keys", 1, 1)
    plan = PixelPlan(staged=digest, tally=counted, pixels=align(counted, product.target_bytes))
    write_atomic(path, plan.to_json())
    return plan


def _splits(
    layout: Layout, staged: Sequence[Receipt], product: Product, plan: PixelPlan, work: _Work
) -> Sequence[Split]:
    """All columns of the staged files by pixel; each file is read once, however many catalogs there are."""
    step = partial(split, pixels=plan.pixels, folder=layout.scratch / "split", schema=schema(product.staged))
    splits = list(work.each("split", step, group(layout.staging, staged)))
    refuse_damage(layout, (damage for one in splits for damage in one.damages))
    return splits


def _target(part: Part, product: Product, plan: PixelPlan) -> Target:
    return Target(
        folder=part.layout.partial,
        done=part.layout.scratch / f"done{part.layout.ending}",
        staged=schema(product.staged),
        schema=published_schema(part.product.columns, plan.tally.widths),
        keys=product.keys,
    )


def _partitions(
    part: Part, target: Target, plan: PixelPlan, splits: Sequence[Split], work: _Work
) -> tuple[Partition, ...]:
    """One catalog's partitions, in the order of the sky."""
    made = work.each("reduce", partial(reduce, target=target), parts(plan.pixels, splits))
    partitions = _account(made, plan)
    sweep(part.layout.partial)
    return partitions


def _digest(staged: Sequence[Receipt]) -> str:
    """All that the receipts say of the rows; not how long they took, which a retry changes."""
    said = [replace(receipt, seconds={}, seen="").to_dict() for receipt in staged]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


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


def _publish(layout: Layout) -> None:
    """Give the finished catalog its place; PlanError when another plan's came first."""
    publish(layout)


def _tidy(layout: Layout) -> None:
    """Remove the scratch and what killed writers left; only once published, when no writer is at work.

    What cannot be removed does no harm.
    """
    clear(layout.scratch)
    with suppress(OSError):
        for folder in (layout.data, layout.receipts, layout.scratch):
            sweep(folder)
