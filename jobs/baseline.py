"""The `baseline` command."""

from contextlib import ExitStack
from functools import cache

from rich.markup import escape
from rich.table import Table

from engine.train.baseline import LEAST_FACTOR, SIGMAS, BaselineReport, Reach, baseline
from engine.train.spec import TrainSpec
from jobs.progress import Bar, bars, say


def run_baseline(spec: TrainSpec) -> BaselineReport:
    """Predict labels from labels, with progress, and say what that means."""
    with ExitStack() as display:

        @cache
        def shown() -> Bar:
            return display.enter_context(bars(Reading=1))[0]

        report = baseline(spec, on_shard=lambda done, of: shown().reach(done, of))
    say(_meaning(spec, report))
    return report


def _meaning(spec: TrainSpec, report: BaselineReport) -> str:
    if report.card is None:
        return f"No bundle is in {escape(str(spec.bundle.out))} yet: nothing to compare with"
    return (
        f"{escape(report.card.name)} uses the spectrum where its scatter is smaller by a factor of at least "
        f"{LEAST_FACTOR}, and by {SIGMAS:.0f} errors of that factor; else nothing is shown"
    )


def page(report: BaselineReport) -> Table:
    """A row for each label: scatter of the baseline, of the network, and what follows."""
    title = f"From {', '.join(report.predictors)} alone: bias and robust scatter on test stars"
    table = Table(title=title, box=None, pad_edge=False)
    for name in ("label", "unit", "stars", "by", "bias", "baseline", "network", "ratio", "verdict"):
        table.add_column(name, no_wrap=name in ("label", "unit", "ratio"))
    for reach in report.reaches:
        table.add_row(reach.name, reach.unit, f"{reach.stars:,}", *_numbers(reach), reach.verdict)
    return table


def _numbers(reach: Reach) -> tuple[str, ...]:
    network = "" if reach.network is None else f"{reach.network:.3g}"
    if reach.scatter is None:
        return "", "", "", network, ""
    ratio = "" if reach.factor is None else "{:.2f} ± {:.2f}".format(*reach.factor)
    baseline = f"{reach.scatter:.3g} ± {reach.e_scatter:.1g}"
    return reach.regressor, f"{reach.bias:.1g}", baseline, network, ratio
