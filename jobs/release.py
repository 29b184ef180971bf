"""`abundant export`: a catalog for those who have no Parquet, with progress."""

from pathlib import Path

from rich.markup import escape

from catalogs.export.release import export
from catalogs.export.request import About, Asked, Exported
from engine.toml import load
from jobs.progress import bars


def run_export(asked: Asked, form: str) -> Exported:
    """Export with a bar that shows each step."""
    with bars(Exporting=1) as [bar]:
        return export(asked, form, lambda step, done, of: bar.reach(done, of, step))


def about_of(path: Path | None) -> About:
    """What people say of the catalog in a TOML file; SpecError when it is wrong. Nothing without a file."""
    return About() if path is None else load(path, About)


def exported(done: Exported) -> str:
    """What was written, in a few sentences."""
    size = f"{done.bytes / 2**20:.1f} MiB"
    lines = [f"{done.rows:,} rows, {done.columns} columns, {size}: {escape(str(done.out))}"]
    return "\n".join([*lines, *(f"[yellow]Note:[/yellow] {escape(one)}" for one in done.remarks)])
