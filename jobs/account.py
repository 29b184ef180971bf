"""What a run tells its event log of tasks and steps, and what its manifest keeps of that."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import cached_property
from time import perf_counter
from typing import Any

from catalogs.events import Events, read_events
from catalogs.layout import Layout
from engine.errors import PlanError
from engine.plan import Plan
from engine.runtime import SITES
from engine.spec import Profile
from engine.types import Receipt, Task
from jobs.progress import Tally

# Progress is logged this often.
EVERY_S = 10.0


@dataclass
class Account:
    """What came in since the last word of progress. Seconds count from the start of the labelling."""

    events: Events
    tasks: Sequence[Task]
    tally: Tally = field(default_factory=lambda: Tally(perf_counter()))
    started: float = field(default_factory=perf_counter)
    told: float = field(default_factory=perf_counter)
    rows_told: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @cached_property
    def file_of(self) -> dict[str, str]:
        """Each task's file; asked for when the first one failed."""
        return {task.task_id: task.shard.path for task in self.tasks}

    def add(self, receipt: Receipt) -> None:
        """Count one task; tell of it if it failed, and of progress if it is time."""
        self.tally.add(receipt)
        for stage, seconds in receipt.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        if receipt.status == "failed":
            about = {"task": receipt.task_id, "file": self.file_of[receipt.task_id], "rows": receipt.rows}
            self.events.tell("failed", **about, reason=receipt.reason)
        if perf_counter() - self.told > EVERY_S:
            self.progress("progress")

    def progress(self, event: str) -> None:
        """Tell how far it is; `in_stage`: tasks in each stage, on the mean since the last time."""
        now = perf_counter()
        passed = max(now - self.told, 1e-9)
        self.events.tell(
            event,
            tasks=self.tally.tasks,
            of=len(self.tasks),
            rows=self.tally.rows,
            flagged=self.tally.flagged,
            no_result=self.tally.no_result,
            failed_tasks=self.tally.failed_tasks,
            seconds=round(now - self.started, 3),
            rows_per_second=round((self.tally.rows - self.rows_told) / passed, 1),
            in_stage={stage: round(spent / passed, 2) for stage, spent in self.seconds.items()},
        )
        self.told, self.rows_told, self.seconds = now, self.tally.rows, {}


def accounted(receipts: Iterable[Receipt], plan: Plan, profile: Profile, events: Events) -> Iterator[Receipt]:
    """The receipts as they come; the event log hears of the start, progress, failures and the end."""
    site = asdict(SITES[profile.runtime](plan, profile)) if plan.tasks else {}
    record = plan.record()
    events.tell(
        "started",
        plan=record["digest"],
        tasks=len(plan.tasks),
        rows=plan.rows,
        profile=profile.model_dump(mode="json"),
        site=site,
        versions=record["versions"],
        python=record["python"],
    )
    account = Account(events, plan.tasks)
    for receipt in receipts:
        account.add(receipt)
        yield receipt
    account.progress("labelled")


def check_machine(plan: Plan, layout: Layout, profile: Profile) -> None:
    """PlanError where a run goes on that was begun on another kind of machine, as far as its log tells."""
    if profile.mix_machines or not plan.tasks:
        return
    begun = set[str]()
    with suppress(OSError):
        begun = {event["site"]["kind"] for event in read_events(layout) if event.get("site")}
    here = SITES[profile.runtime](plan, profile).kind
    if begun and here not in begun:
        raise PlanError(
            f"this run was begun on {' and on '.join(sorted(begun))}; here is {here}, where labels differ in "
            "their last digits: go on there, or set mix_machines = true in the profile"
        )


@dataclass(slots=True)
class Steps:
    """The steps of a commit, told to the event log when each is done."""

    events: Events
    step: str = ""
    since: float = 0.0

    def hear(self, step: str) -> None:
        """A step goes on, or the next one begins."""
        if step != self.step:
            self.end()
            self.step, self.since = step, perf_counter()

    def end(self) -> None:
        """The last step is done."""
        if self.step:
            self.events.tell("commit", step=self.step, seconds=round(perf_counter() - self.since, 3))
        self.step = ""


def known_of(layout: Layout, events: Events) -> dict[str, Any]:
    """What a manifest says, as `run`, of the drivers that labelled, as far as their log tells."""
    events.flush()
    with suppress(OSError):
        if facts := _of_drivers(read_events(layout)):
            return {"run": facts}
    return {}


def _of_drivers(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """How many there were, how long they took together, and on what the last one ran; empty without any."""
    sites, spent = list[dict[str, Any]](), list[float]()
    for event in events:
        if event.get("event") == "started" and event.get("site"):
            sites.append({"runtime": event["profile"]["runtime"], **event["site"]})
            spent.append(0.0)
        elif event.get("event") in ("progress", "labelled") and spent:
            spent[-1] = max(spent[-1], event["seconds"])
    if not sites:
        return {}
    kinds = sorted({site.pop("kind") for site in sites})
    return {**sites[-1], "machines": kinds, "drivers": len(sites), "seconds": round(sum(spent), 3)}
