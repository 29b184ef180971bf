"""The command that draws a catalog."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from jobs.cli.shared import CatalogPath, group
from jobs.progress import say

commands = group()


@commands.command(epilog="Example: abundant report demo/catalogs/demo/1 --out demo.html")
def report(
    catalog: CatalogPath,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The page; default: CATALOG-report.html beside it."),
    ] = None,
) -> None:
    """Draw a catalog on one page of HTML: counts, flags, Kiel diagram, abundances, sky, errors, failures.

    The page holds its figures and needs nothing beside it. It is written anew where an older report is;
    any other file is left alone.
    """
    from jobs.catalog_report import write_report

    say(f"Report: {escape(str(write_report(catalog, out)))}")
