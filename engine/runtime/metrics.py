"""What Prometheus sees of a run on Ray: every metric, and who fills them.

The driver sets them as receipts come in; its node's agent serves them where Ray's own are, as ray_abundant_….
A counter's name there ends in _total, a histogram's in _bucket, _sum and _count. The mean number of tasks in
a stage, such as those that were read and wait for a network, is the rate of the stage's seconds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import Literal

from ray.util.metrics import Counter, Gauge, Histogram

from engine.plan import Plan
from engine.types import Receipt

# Gauges are set this often; a rate is one over so many seconds.
BEAT_S = 5.0
# Seconds of a stage: of a task that was fast, and of one that was slow.
BOUNDARIES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric's name, kind and meaning, and what it is split by besides the run."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    tags: tuple[str, ...] = ()

    @property
    def described(self) -> tuple[str, str, tuple[str, ...]]:
        """As Ray wants to hear of it: name, text, tags."""
        return self.name, self.text, ("run", *self.tags)

    @property
    def exported(self) -> tuple[str, ...]:
        """The names that Prometheus knows it by."""
        name = f"ray_{self.name}"
        endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
        return tuple(f"{name}{ending}" for ending in endings[self.kind])


TASKS = Metric(name="abundant_tasks", kind="gauge", text="Tasks that this driver has to do")
TASKS_LEFT = Metric(name="abundant_tasks_left", kind="gauge", text="Tasks of them that are not done yet")
TASKS_DONE = Metric(name="abundant_tasks_done", kind="counter", text="Tasks with a receipt", tags=("status",))
ROWS = Metric(name="abundant_rows", kind="counter", text="Rows that were staged", tags=("outcome",))
RATE = Metric(name="abundant_rows_per_second", kind="gauge", text="Rows staged per second, of late")
FAILED = Metric(
    name="abundant_failed_tasks", kind="counter", text="Tasks that failed, by kind of error", tags=("reason",)
)
SECONDS = Metric(
    name="abundant_stage_seconds", kind="counter", text="Seconds of all tasks by stage", tags=("stage",)
)
# Ray keeps buckets alone and makes the sum of their middles, so exact seconds need a counter.
SPREAD = Metric(
    name="abundant_task_seconds", kind="histogram", text="Seconds of a task by stage", tags=("stage",)
)

METRICS = (TASKS, TASKS_LEFT, TASKS_DONE, ROWS, RATE, FAILED, SECONDS, SPREAD)


def counted(plan: Plan, receipts: Iterable[Receipt]) -> Iterator[Receipt]:
    """The receipts as they come, each counted for Prometheus before it is handed on."""
    catalog, done = plan.spec.catalog, Event()
    board = _Board(f"{catalog.name}-{catalog.version}-{plan.work_digest[:12]}", len(plan.tasks))
    Thread(target=board.keep_beating, args=(done,), name="metrics", daemon=True).start()
    try:
        for receipt in receipts:
            board.count(receipt)
            yield receipt
    finally:
        done.set()
        board.beat()


class _Board:
    """Ray's metrics of one run. Gauges are set again and again: Ray drops one that was not set for 20 s."""

    def __init__(self, run: str, tasks: int) -> None:
        self._run, self._tasks, self._left = {"run": run}, tasks, tasks
        self._rows, self._before, self._since = 0, 0, monotonic()
        self._counters = {one: Counter(*one.described) for one in METRICS if one.kind == "counter"}
        self._gauges = {one: Gauge(*one.described) for one in METRICS if one.kind == "gauge"}
        name, text, tags = SPREAD.described
        self._spread = Histogram(name, text, list(BOUNDARIES), tags)
        self.beat()

    def keep_beating(self, done: Event) -> None:
        """A thread's life, until it is done."""
        while not done.wait(BEAT_S):
            self.beat()

    def beat(self) -> None:
        """Set what gauges show; the rate is that since the last beat."""
        now, rows = monotonic(), self._rows
        rate = (rows - self._before) / max(now - self._since, 1e-3)
        self._before, self._since = rows, now
        for metric, value in ((TASKS, self._tasks), (TASKS_LEFT, self._left), (RATE, rate)):
            self._gauges[metric].set(value, self._run)

    def count(self, receipt: Receipt) -> None:
        """One more task, with its rows, its seconds and its failure."""
        self._left -= 1
        self._rows += receipt.rows
        self._add(TASKS_DONE, 1, status=receipt.status)
        for outcome in ("ok", "flagged", "no_result"):
            self._add(ROWS, getattr(receipt, outcome), outcome=outcome)
        if receipt.status == "failed":
            self._add(FAILED, 1, reason=receipt.reason.partition(":")[0])
        for stage, seconds in receipt.seconds.items():
            self._add(SECONDS, seconds, stage=stage)
            self._spread.observe(seconds, self._run | {"stage": stage})

    def _add(self, metric: Metric, value: float, **tags: str) -> None:
        # Ray refuses to count nothing.
        if value:
            self._counters[metric].inc(value, self._run | tags)
