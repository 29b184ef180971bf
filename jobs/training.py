"""The `train` command."""

from engine.spec import TrainSpec
from engine.train import Epoch, TrainReport, train
from jobs import show
from jobs.progress import CONSOLE, bars, epoch_remark, say


def run_training(spec: TrainSpec) -> TrainReport:
    """Train with progress, and show what came of it."""
    with bars(Reading=1, Training=spec.training.epochs) as [reading, training]:

        def on_epoch(epoch: Epoch) -> None:
            training.advance(epoch_remark(epoch))

        report = train(spec, on_shard=reading.reach, on_epoch=on_epoch)
    CONSOLE.print(show.trained(report))
    stars = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in report.counts.items())
    say(f"Bundle {report.card.name} in {report.bundle} ({stars})")
    return report
