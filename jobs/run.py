"""A run from plan to verified catalog. The same command resumes it."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalogs.commit import commit
from catalogs.layout import Layout, Product
from catalogs.lease import Lease, driving
from catalogs.place import check_place, is_published
from catalogs.report import CommitReport
from catalogs.stage import RunState, Stage, open_run
from catalogs.verify import VerifyReport, verify
from engine.flags import FLAGS
from engine.plan import Plan
from engine.runtime import RUNTIMES
from engine.spec import Profile
from engine.surveys import survey_of
from engine.types import Receipt
from jobs.progress import Tally, bars, say


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a run published, and how fast: `rate` is spectra/s after the first receipt, NaN if nothing ran."""

    catalog: Path
    committed: CommitReport
    startup_seconds: float
    rate: float


def layout_of(plan: Plan) -> Layout:
    """Where a plan is staged and published."""
    catalog = plan.spec.catalog
    return Layout(
        root=catalog.root,
        name=catalog.name,
        version=catalog.version,
        plan_digest=plan.digest,
        work_digest=plan.work_digest,
    )


def checked_layout(plan: Plan) -> Layout:
    """Where a plan is staged and published; PlanError when nothing could be written or published there."""
    layout = layout_of(plan)
    check_place(layout)
    return layout


def run(plan: Plan, profile: Profile) -> RunReport:
    """Execute what is left of a plan, and commit it, which verifies; a catalog of old is verified again."""
    layout = checked_layout(plan)
    startup, rate = float("nan"), float("nan")
    if is_published(layout):
        committed = _commit(plan, layout)
        check(layout.catalog)
    else:
        with driving(layout) as lease:
            if open_run(layout, plan.record()) is not RunState.PUBLISHED:
                startup, rate = _execute(plan, layout, profile, lease)
            committed = _commit(plan, layout, lease)
    return RunReport(catalog=layout.catalog, committed=committed, startup_seconds=startup, rate=rate)


def _execute(plan: Plan, layout: Layout, profile: Profile, lease: Lease) -> tuple[float, float]:
    """Seconds to the first receipt, and spectra/s after it."""
    stage = Stage(layout)
    # A failed task is tried again: its file may have come back, with the size that the plan knows.
    left = plan.without({receipt.task_id for receipt in stage.receipts() if receipt.status == "done"})
    if len(left.tasks) < len(plan.tasks):
        say(f"Resuming: {len(plan.tasks) - len(left.tasks)} of {len(plan.tasks)} tasks are already done.")
    return _follow(RUNTIMES[profile.runtime](left, stage, profile), len(left.tasks), lease)


def _follow(receipts: Iterable[Receipt], tasks: int, lease: Lease) -> tuple[float, float]:
    started = first = last = time.perf_counter()
    tally, first_rows = Tally(started), 0
    with bars(Labelling=tasks) as [progress]:
        for receipt in receipts:
            lease.confirm()
            last = time.perf_counter()
            if not tally.tasks:
                first, first_rows = last, receipt.rows
            tally.add(receipt)
            progress.advance(tally.remark(last))
    return first - started, (tally.rows - first_rows) / (last - first) if last > first else float("nan")


def commit_run(plan: Plan) -> CommitReport:
    """Publish a plan's staged labels."""
    layout = checked_layout(plan)
    if is_published(layout):
        return _commit(plan, layout)
    with driving(layout) as lease:
        return _commit(plan, layout, lease)


def _commit(plan: Plan, layout: Layout, lease: Lease | None = None) -> CommitReport:
    """Commit with progress; nobody needs a lease for what is published."""
    keys = survey_of(plan.spec.survey).keys
    product = Product(keys=tuple(key.name for key in keys), columns=plan.columns)
    with bars(Committing=1) as [progress]:

        def on_step(step: str, done: int, of: int) -> None:
            if lease is not None:
                lease.confirm()
            progress.reach(done, of, step)

        return commit(
            layout,
            [task.task_id for task in plan.tasks],
            product,
            manifest=manifest_of(plan),
            failed_allowed=plan.spec.tolerance.failed_tasks,
            on_step=on_step,
        )


def manifest_of(plan: Plan) -> dict[str, Any]:
    """What a catalog keeps of its plan: spec, bundle, flags in words, and the files by shard id."""
    flags = [{"bit": f.bit, "name": f.name, "severity": f.severity, "text": f.text} for f in FLAGS]
    shards = {task.shard.shard_id: task.shard.path for task in plan.tasks}
    return {"plan": plan.record(), "flags": flags, "shards": shards, "warnings": list(plan.warnings)}


def check(catalog: Path) -> VerifyReport:
    """Verify a published catalog from disk alone; VerifyError lists what is wrong."""
    return verify(catalog)
