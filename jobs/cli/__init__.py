"""The command `abundant`: one module per group of commands, all of them in the table below.

Exit codes: 0 done, 1 run or check failed, 2 wrong input, 130 interrupted, 141 nobody reads the output.
"""

import sys

from rich.markup import escape

from engine.errors import AbundantError, InputError
from jobs.cli import bundles, catalogs, cluster, look, release, report, runs, training
from jobs.cli.shared import group
from jobs.progress import say

app = group()
app.info.help = "Stellar labels for every spectrum in a survey."
for module in (look, runs, cluster, catalogs, release, report, training):
    app.add_typer(module.commands)
app.add_typer(bundles.commands, name="bundle", help="Look at a bundle, check it, or hand its networks on.")


def command_line() -> None:
    """Run the command line; a mistake becomes one readable message, a defect a traceback."""
    try:
        app(prog_name="abundant")
    except InputError as error:
        say(f"[bold red]Error:[/bold red] {escape(str(error))}")
        sys.exit(2)
    except AbundantError as error:
        say(f"[bold red]Failed:[/bold red] {escape(str(error))}")
        sys.exit(1)
