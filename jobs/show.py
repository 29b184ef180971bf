"""Tables for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from catalogs.layout import SIDE
from catalogs.macros import flags_of
from catalogs.manifest import Manifest
from catalogs.report import CommitReport
from engine.flags import FLAGS
from engine.models import MODELS
from engine.plan import Plan
from engine.surveys import SURVEYS
from engine.train import TrainReport
from engine.types import Arm, Axis, Basis, Waves
from jobs.following import following
from jobs.run import RunReport, layout_of
from jobs.trace import traced

# For parameters of models whose labels the training chooses.
SOME_LABELS = 12
SHOWN_WARNINGS = 5


def surveys() -> Table:
    """The registered surveys."""
    table = _entries()
    for survey in SURVEYS.values():
        keys = "/".join(key.name for key in survey.keys)
        facts = f"{survey.frame} frame, {survey.medium} wavelengths; key {keys}"
        _entry(table, survey.name, survey.title, survey.reference, _arms(survey.arms), facts)
    return table


def _arms(arms: Sequence[Arm]) -> str:
    """The cameras, each with what it covers."""
    spans = ", ".join(f"{arm.name} {_span(arm.grid)}" for arm in arms) or "arms as the spec gives them"
    own = [arm.grid.pixels for arm in arms if isinstance(arm.grid, Waves)]
    return f"{spans}; each spectrum has its own pixels, {max(own)} at most" if own else spans


def _span(grid: Axis) -> str:
    if isinstance(grid, Basis):
        return f"{grid.pixels} coefficients"
    pixels = "" if isinstance(grid, Waves) else f" ({grid.pixels} px)"
    return f"{grid.low:.0f}-{grid.high:.0f} A{pixels}"


def models() -> Table:
    """The registered models with their default sizes."""
    table = _entries()
    for model in MODELS.values():
        labels = len(model.labels) or SOME_LABELS
        network = model.build(model.hyper, model.inputs, labels)
        parameters = sum(weights.numel() for weights in network.parameters())
        grid = f"{model.input.pixels} px, {model.input.frame} frame, {model.input.medium}"
        beside = f", and {', '.join(extra.name for extra in model.extras)}" if model.extras else ""
        facts = f"{grid}{beside}; {parameters:,} parameters for {labels} labels"
        hyper = ", ".join(f"{key} = {value}" for key, value in model.hyper.model_dump().items())
        _entry(table, model.name, model.title, model.reference, facts, hyper)
    return table


def _entries() -> Table:
    """Names, and beside each some lines: on a terminal of 80 columns more columns would be slivers."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    return table


def _entry(table: Table, name: str, *lines: str) -> None:
    if table.row_count:
        table.add_row()
    table.add_row(name, escape("\n".join(lines)))


def flags() -> Table:
    """The row flags."""
    table = Table("bit", "value", "name", "severity", "meaning")
    for flag in FLAGS:
        table.add_row(str(flag.bit), str(flag.value), flag.name, flag.severity, escape(flag.text))
    return table


def pairs() -> Table:
    """Names and values, folded rather than cut: a path must stay whole."""
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def plan(found: Plan) -> Table:
    """What a run would do."""
    shards = {task.shard.shard_id: task.shard for task in found.tasks}
    files = sum(len(shard.members) or 1 for shard in shards.values())
    most = max((task.stop - task.start for task in found.tasks), default=0)
    table = pairs()
    table.add_row("plan", found.digest[:12])
    root = escape(found.spec.survey.root)
    table.add_row("survey", f"{found.spec.survey.name}, {files:,} files under {root}")
    table.add_row("model", f"{found.card.name} ({found.card.architecture}), {len(found.card.labels)} labels")
    table.add_row("draws", _draws(found))
    table.add_row("tasks", f"{len(found.tasks):,} of at most {most:,} rows")
    table.add_row("rows", f"{found.rows:,} before selection ({found.spec.survey.select.by})")
    table.add_row("to read", f"{found.bytes / 2**30:.2f} GiB")
    catalog = found.spec.catalog
    layout = layout_of(found)
    table.add_row("catalog", escape(str(layout.catalog)))
    if (followed := following(found, layout)) is not None:
        kept, every = len(followed.kept), len(found.tasks)
        what = f"{kept:,} of {every:,} tasks are kept, {every - kept:,} are done anew"
        table.add_row("follows", escape(f"version {followed.version}: {what}"))
    if found.side:
        wide = ", ".join(column.name for column in found.side)
        table.add_row("side catalog", escape(f"{catalog.name}{SIDE}/{catalog.version}: {wide}"))
    for warning in found.warnings[:SHOWN_WARNINGS]:
        table.add_row("[yellow]warning[/yellow]", escape(warning))
    if len(found.warnings) > SHOWN_WARNINGS:
        table.add_row("", f"… and {len(found.warnings) - SHOWN_WARNINGS} more warnings")
    return table


def _draws(found: Plan) -> str:
    """How the networks are drawn; a plan always says."""
    sampling, members = found.spec.sampling, found.card.members
    assert sampling is not None
    networks = f" of each of {members} networks" if members > 1 else ""
    if sampling.draws == 0:
        return f"{members} networks, without dropout"
    return f"{sampling.draws}{networks}, seed {sampling.seed}"


def trained(report: TrainReport) -> Table:
    """How a trained model did on its test stars."""
    title = "Test stars; shares within one raw error, one and 1.96 calibrated ones"
    table = Table("label", "unit", "from", "to", "bias", "scatter", "raw", "68 %", "95 %", title=title)
    for label in report.card.labels:
        numbers = (label.low, label.high, label.test_bias, label.test_scatter)
        shares = (label.test_coverage_raw, label.test_coverage, label.test_coverage_95)
        shown = [f"{x:.3g}" if abs(x or 0) < 1000 else f"{x:.0f}" for x in numbers if x is not None]
        table.add_row(
            label.name, label.unit.partition("(")[0], *shown, *(f"{x:.2f}" for x in shares if x is not None)
        )
    return table


def finished(report: RunReport) -> str:
    """A run's outcome in a few sentences."""
    return published(report.committed)


def published(done: CommitReport) -> str:
    """A commit's outcome in a few sentences."""
    rows = f"{done.rows:,} rows: {done.ok:,} ok, {done.flagged:,} flagged, {done.no_result:,} without result"
    failed = f"; {done.failed_tasks} tasks failed" if done.failed_tasks else ""
    size = f"{done.partitions} partitions, {done.bytes / 2**20:.1f} MiB"
    side = f" and {escape(str(done.side))}" if done.side else ""
    outcome = "Was already published" if done.already else "Published and verified"
    return f"{rows}{failed}. {size}. {outcome}: {escape(str(done.path))}{side}{_leftovers(done)}"


def _leftovers(done: CommitReport) -> str:
    if not done.staging_bytes:
        return ""
    size = f"{done.staging_bytes / 2**20:.1f} MiB"
    return f"\nIts staging can be deleted ({size}): {escape(str(done.staging))}"


def explained(row: Mapping[str, Any], manifest: Manifest) -> Table:
    """One row back to where it comes from, with its flags in words as far as the manifest has them."""
    table = pairs()
    for name, value in traced(row, manifest):
        table.add_row(name, escape(value))
    texts = {flag["name"]: f"{flag['severity']}: {flag['text']}" for flag in manifest.get("flags", [])}
    for name in (name for name, value in flags_of(manifest).items() if row["flags"] & value):
        table.add_row(f"flag {name}", texts.get(name, "the manifest does not say what it means"))
    for name, value in row.items():
        table.add_row(name, "NULL" if value is None else escape(str(value)))
    return table
