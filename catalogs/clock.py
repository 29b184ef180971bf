"""What the steps of a commit take."""

from dataclasses import dataclass, field
from time import perf_counter

from catalogs.work import OnStep


@dataclass(slots=True)
class Clock:
    """Seconds by step, of wall clock. A step lasts until the next one is told of."""

    step: str = "check receipts"
    since: float = field(default_factory=perf_counter)
    spent: dict[str, float] = field(default_factory=dict)

    def hearing(self, on_step: OnStep) -> OnStep:
        """What hears of steps for this clock, and passes them on."""

        def hear(step: str, done: int, of: int) -> None:
            self.turn(step)
            on_step(step, done, of)

        return hear

    def turn(self, step: str) -> None:
        """A step goes on, or the next one begins."""
        now = perf_counter()
        self.spent[self.step] = self.spent.get(self.step, 0.0) + now - self.since
        self.step, self.since = step, now

    def seconds(self) -> dict[str, float]:
        """What each step has taken so far, in the order in which they began."""
        self.turn(self.step)
        return {step: round(spent, 3) for step, spent in self.spent.items()}
