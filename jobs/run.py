"""A run from plan to verified catalog. The same command resumes it."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from catalogs.commit import Mapper, commit
from catalogs.events import Events, recording
from catalogs.follow import Followed
from catalogs.layout import Layout
from catalogs.lease import Lease, bury, driving
from catalogs.place import all_published, check_place, is_published
from catalogs.remote import Location, location
from catalogs.report import CommitReport
from catalogs.stage import RunState, Stage, open_run
from catalogs.verify import VerifyReport, verify
from engine.errors import CommitError, RunError
from engine.flags import FLAGS
from engine.plan import Plan
from engine.runtime import MAPS, RUNTIMES
from engine.spec import Profile
from engine.surveys.seen import seen
from engine.types import Receipt, Shard
from jobs.account import Steps, accounted, check_machine, known_of
from jobs.following import following, product_of
from jobs.progress import Tally, bars, say
from jobs.submit.record import keep_own_job

# Fewer rows are committed by the driver alone, before workers would have started.
FEW_ROWS = 500_000
LOCAL = Profile(runtime="local")
# How often files that were written in the meantime are read again.
ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a run published, and how fast: `rate` is spectra/s after the first receipt, NaN if nothing ran."""

    catalog: Location
    committed: CommitReport
    startup_seconds: float
    rate: float


@dataclass(frozen=True, slots=True)
class Watch:
    """What a driver holds while it drives a run: the lease, and the event log."""

    lease: Lease
    events: Events


def layout_of(plan: Plan) -> Layout:
    """Where a plan is staged and published."""
    catalog = plan.spec.catalog
    return Layout(
        root=location(catalog.root, catalog.storage, "[catalog.storage]"),
        name=catalog.name,
        version=catalog.version,
        plan_digest=plan.digest,
        work_digest=plan.work_digest,
        has_side=bool(plan.side),
    )


def checked(plan: Plan) -> tuple[Layout, Followed | None]:
    """Where a plan is staged and published, and what it follows; PlanError when nothing can be written there.

    So too when the version that the catalog follows is not there, or would have had other labels.
    """
    layout = layout_of(plan)
    check_place(layout)
    return layout, following(plan, layout)


def run(plan: Plan, profile: Profile) -> RunReport:
    """Execute what is left of a plan, and commit it, which verifies; a catalog of old is verified again."""
    layout, followed = checked(plan)
    startup, rate = float("nan"), float("nan")
    if all_published(layout):
        committed = _commit(plan, layout, LOCAL)
        check(layout.catalog)
        bury(layout)
    else:
        with driving(layout) as lease, recording(layout) as events:
            anew = _anew(plan, followed)
            if open_run(layout, plan.record() | {"anew": len(anew.tasks)}) is not RunState.PUBLISHED:
                keep_own_job(layout.staging)
                startup, rate = _execute(anew, layout, profile, Watch(lease, events))
            committed = _commit(plan, layout, profile, Watch(lease, events), followed)
    return RunReport(catalog=layout.catalog, committed=committed, startup_seconds=startup, rate=rate)


def _anew(plan: Plan, followed: Followed | None) -> Plan:
    """What has to be done anew; a version that is followed says what need not."""
    if followed is None:
        return plan
    left = plan.without(followed.kept)
    say(
        f"Follows version {followed.version}: {len(followed.kept):,} of {len(plan.tasks):,} tasks are kept, "
        f"{len(left.tasks):,} are done anew."
    )
    return left


def _execute(plan: Plan, layout: Layout, profile: Profile, watch: Watch) -> tuple[float, float]:
    """Do what is left, and again what was read from files that have been touched since.

    Seconds to the first receipt, and spectra/s after it. RunError when files do not come to rest.
    """
    stage = Stage(layout)
    if any(is_published(part) for part in layout.parts):
        # Of two catalogs one is published: its rows stand, and only what got lost since is done again.
        lost = plan.without({receipt.task_id for receipt in stage.each_receipt()})
        return _label(lost, stage, profile, watch)
    # A failed task is tried again: its file may have come back, with the content that the plan knows.
    then = {receipt.task_id: receipt.seen for receipt in stage.each_receipt() if receipt.status == "done"}
    left = plan.without(then.keys() - _touched(plan, then))
    if len(left.tasks) < len(plan.tasks):
        check_machine(left, layout, profile)
        say(f"Resuming: {len(plan.tasks) - len(left.tasks)} of {len(plan.tasks)} tasks are already done.")
    timing = _label(left, stage, profile, watch)
    for _ in range(ROUNDS):
        if not (touched := _touched(plan, _seen_then(stage))):
            return timing
        say(f"{len(touched)} tasks are done again: their files were written after they were read.")
        again = plan.without({task.task_id for task in plan.tasks} - touched)
        _label(again, stage, profile, watch)
    raise RunError(
        "files of the survey change as fast as they are read; run the same command again when they rest"
    )


def _seen_then(stage: Stage) -> dict[str, str]:
    """What receipts tell of the sizes and dates of their files, by task."""
    return {receipt.task_id: receipt.seen for receipt in stage.each_receipt()}


def _touched(plan: Plan, then: Mapping[str, str]) -> set[str]:
    """The tasks whose receipts tell of other sizes or dates than their files have now."""
    read = [task for task in plan.tasks if task.task_id in then]
    shards = {task.shard.shard_id: task.shard for task in read}
    now = {shard_id: seen(plan.spec.survey, shard) for shard_id, shard in shards.items()}
    # Files that are gone were as planned when they were read.
    return {t.task_id for t in read if now[t.shard.shard_id] not in ("", then[t.task_id])}


def _label(plan: Plan, stage: Stage, profile: Profile, watch: Watch) -> tuple[float, float]:
    """Do the plan's tasks; seconds to the first receipt, and spectra/s after it."""
    receipts = RUNTIMES[profile.runtime](plan, stage, profile)
    return _follow(accounted(receipts, plan, profile, watch.events), len(plan.tasks), watch.lease)


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


def commit_run(plan: Plan, profile: Profile = LOCAL) -> CommitReport:
    """Publish a plan's staged labels; in this process, if the profile does not say otherwise."""
    layout, followed = checked(plan)
    if all_published(layout):
        return _commit(plan, layout, profile)
    with driving(layout) as lease, recording(layout) as events:
        begun = any(is_published(part) for part in layout.parts)
        if not begun and (touched := _touched(_anew(plan, followed), _seen_then(Stage(layout)))):
            raise CommitError(
                f"the files of {len(touched)} tasks were written after they were read; "
                "`abundant run` does these tasks again"
            )
        return _commit(plan, layout, profile, Watch(lease, events), followed)


def _commit(
    plan: Plan,
    layout: Layout,
    profile: Profile,
    watch: Watch | None = None,
    followed: Followed | None = None,
) -> CommitReport:
    """Commit, with word to the event log; nobody needs a lease or a log for what is published."""
    if watch is None:
        return _publish(plan, layout, profile, followed=followed, known={}, hear=lambda _: None)
    steps = Steps(watch.events)

    def hear(step: str) -> None:
        watch.lease.confirm()
        steps.hear(step)

    known = known_of(layout, watch.events)
    done = _publish(plan, layout, profile, followed=followed, known=known, hear=hear)
    steps.end()
    watch.events.tell("published", catalog=str(done.path), rows=done.rows, bytes=done.bytes)
    return done


def _publish(
    plan: Plan,
    layout: Layout,
    profile: Profile,
    *,
    followed: Followed | None,
    known: Mapping[str, Any],
    hear: Callable[[str], None],
) -> CommitReport:
    """Commit with progress; the manifest also says what is `known`."""
    kept = frozenset[str]() if followed is None else followed.kept
    with bars(Committing=1) as [progress]:

        def on_step(step: str, done: int, of: int) -> None:
            hear(step)
            progress.reach(done, of, step)

        return commit(
            layout,
            [task.task_id for task in plan.tasks if task.task_id not in kept],
            product_of(plan),
            manifest={**manifest_of(plan), **known},
            failed_allowed=plan.spec.tolerance.failed_tasks,
            followed=followed,
            mapper=_mapper(plan, profile),
            on_step=on_step,
        )


def _mapper(plan: Plan, profile: Profile) -> Mapper:
    """Where the steps of a commit are done."""
    rows = sum(task.stop - task.start for task in plan.tasks)
    return partial(MAPS["local" if rows < FEW_ROWS else profile.runtime], profile)


def manifest_of(plan: Plan) -> dict[str, Any]:
    """What a catalog keeps of its plan: spec, bundle, flags in words, and the files by shard id."""
    flags = [{"bit": f.bit, "name": f.name, "severity": f.severity, "text": f.text} for f in FLAGS]
    shards = {task.shard.shard_id: task.shard for task in plan.tasks}
    files = {shard_id: _files(shard) for shard_id, shard in shards.items()}
    return {"plan": plan.record(), "flags": flags, "shards": files, "warnings": list(plan.warnings)}


def _files(shard: Shard) -> str | list[tuple[str, int]]:
    """A shard's file; of a group those that have rows, each with their number."""
    members = [(member.path, member.rows) for member in shard.members if member.rows]
    return members if len(members) > 1 else shard.path


def check(catalog: Location) -> VerifyReport:
    """Verify a published catalog from disk alone; VerifyError lists what is wrong."""
    return verify(catalog)
