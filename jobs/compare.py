"""`abundant compare`: differences of labels, in a table and as a figure."""

from pathlib import Path

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from catalogs.compare import Asked, Bin, LabelReport, Report, compare, residuals
from jobs.progress import say

AXES = {"": "all", "snr": "S/N", "teff": "Teff", "fe_h": "[Fe/H]"}
COLUMNS = ("stars", "bias", "scatter", "robust", "pull", "of pulls", "outliers")


def run_compare(asked: Asked, plot: Path | None = None) -> Group:
    """Compare, draw if asked to, and give back what is to be printed."""
    with compare(asked) as (report, joined):
        if plot is not None:
            residuals(report, joined, plot)
            say(f"Residuals: {escape(str(plot))}")
    return page(report)


def page(report: Report) -> Group:
    """What was compared, and a table for each label."""
    heads = (
        f"{report.first} minus {report.second}, by {'/'.join(report.key)}",
        f"{report.rows_first:,} and {report.rows_second:,} good rows, {report.matched:,} pairs",
        "bias: mean; robust: 1.4826 MAD; pull: median of difference / error of both; of pulls: their robust",
        "scatter, 1 where errors are right; outliers: beyond 5 robust scatters from the bin's median",
    )
    return Group(*(escape(head) for head in heads), *(_table(label) for label in report.labels))


def _table(label: LabelReport) -> Table:
    theirs = "" if label.theirs == label.name else f" - {label.theirs}"
    unit = f" [{label.unit}]" if label.unit else ""
    table = Table(title=escape(f"{label.name}{theirs}{unit}"), title_justify="left")
    table.add_column("")
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    last = ""
    for one in label.bins:
        if one.axis != last:
            table.add_section()
            last = one.axis
        table.add_row(escape(_where(one)), *_numbers(one))
    if not label.bins:
        table.add_row("no pair has both")
    return table


def _where(one: Bin) -> str:
    axis = AXES[one.axis]
    if one.low is None:
        return axis if one.high is None else f"{axis} < {one.high:g}"
    return f"{axis} >= {one.low:g}" if one.high is None else f"{axis} {one.low:g} to {one.high:g}"


def _numbers(one: Bin) -> tuple[str, ...]:
    return (
        f"{one.stars:,}",
        *(_short(value) for value in (one.bias, one.scatter, one.robust)),
        *("-" if value is None else f"{value:.2f}" for value in (one.pull_bias, one.pull_scatter)),
        f"{one.outliers:.1%}",
    )


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
