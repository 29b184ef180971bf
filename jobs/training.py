"""The `train` command."""

from contextlib import ExitStack
from functools import cache

from engine.train import TrainReport, train
from engine.train.spec import TrainSpec
from jobs import show
from jobs.progress import CONSOLE, Bar, bars, epoch_remark, say


def run_training(spec: TrainSpec) -> TrainReport:
    """Train with progress, and show what came of it."""
    with ExitStack() as display:

        @cache
        def shown() -> list[Bar]:
            """The bars appear with the first spectra: what is refused before leaves no empty bar behind."""
            return display.enter_context(bars(Reading=1, Training=spec.training.epochs))

        report = train(
            spec,
            on_shard=lambda done, of: shown()[0].reach(done, of),
            on_epoch=lambda epoch: shown()[1].advance(epoch_remark(epoch)),
        )
    CONSOLE.print(show.trained(report))
    stars = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in report.counts.items())
    say(f"Bundle {report.card.name} in {report.bundle} ({stars})")
    return report
