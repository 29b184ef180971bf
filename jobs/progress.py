"""What a person sees while long work goes on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from engine.train import Epoch
from engine.types import Receipt

# Everything meant for a person goes to stderr, so that `abundant query --format csv > file` stays clean.
CONSOLE = Console(stderr=True, highlight=False)
LINE_S = 10.0


def say(text: str) -> None:
    """One line for the person at the terminal."""
    CONSOLE.print(text, soft_wrap=True)


@contextmanager
def bars(**totals: int) -> Iterator[list["Bar"]]:
    """One progress bar per title, with counts, elapsed and remaining time, and room for a remark."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn("{task.fields[remark]}"),
        TimeElapsedColumn(),
        TextColumn("+"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=CONSOLE) as progress:
        yield [
            Bar(progress, progress.add_task(title, total=total, remark="")) for title, total in totals.items()
        ]


class Bar:
    """One bar of a rich progress display; in a log, which has no bars, a line every LINE_S."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task, self._told = progress, task, time.monotonic()

    def advance(self, remark: str = "") -> None:
        """One more of the total."""
        self._progress.update(self._task, advance=1, remark=remark)
        self._tell(remark)

    def reach(self, done: int, of: int, remark: str = "") -> None:
        """So many of a total that is now known."""
        self._progress.update(self._task, completed=done, total=of, remark=remark)
        self._tell(remark)

    def _tell(self, remark: str) -> None:
        if CONSOLE.is_terminal or time.monotonic() - self._told < LINE_S:
            return
        self._told, task = time.monotonic(), self._progress.tasks[self._task]
        left = f", {timedelta(seconds=round(task.time_remaining))} left" if task.time_remaining else ""
        say(f"{task.description} {task.completed:,.0f}/{task.total or 0:,.0f} {remark}{left}")


class Tally:
    """Counts of a run in progress, as receipts come in."""

    def __init__(self, started: float) -> None:
        self._started = started
        self.tasks = self.rows = self.flagged = self.no_result = self.failed_tasks = 0

    def add(self, receipt: Receipt) -> None:
        """Count one task."""
        self.tasks += 1
        self.rows += receipt.rows
        self.flagged += receipt.flagged
        self.no_result += receipt.no_result
        self.failed_tasks += receipt.status == "failed"

    def remark(self, now: float) -> str:
        """Rate and outcomes so far, in a few words."""
        rate = self.rows / max(now - self._started, 1e-9)
        failed = f" [red]{self.failed_tasks} tasks failed[/red]" if self.failed_tasks else ""
        return f"{rate:,.0f}/s {self.rows:,} done {self.flagged:,} flagged {self.no_result:,} failed{failed}"


def epoch_remark(epoch: Epoch) -> str:
    """The losses of an epoch in a few words."""
    star = " *" if epoch.best else ""
    return f"loss train {epoch.train_loss:.2f}  validation {epoch.validation_loss:.2f}{star}"
