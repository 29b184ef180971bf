"""Commands for a bundle on disk: `abundant bundle show|verify|export`."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from jobs.cli.shared import group, printing, show_page
from jobs.interrupt import interruptible
from jobs.progress import say

commands = group()
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder that `abundant train` wrote.")]


@commands.command("show", epilog="Example: abundant bundle show demo/bundle --markdown")
def show_bundle(
    folder: BundlePath,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown as it is.")] = False,
) -> None:
    """The model card: labels, ranges, calibration, lineage, licence and hashes."""
    from rich.markdown import Markdown

    from jobs import bundle

    page = bundle.show_bundle(folder)
    if not markdown:
        return show_page(Markdown(page))
    with printing():
        sys.stdout.write(page)
    return None


@commands.command("verify", epilog="Example: abundant bundle verify demo/bundle")
def verify_bundle(folder: BundlePath) -> None:
    """Check hashes, arrays and networks of a bundle, and that these answer with numbers."""
    from jobs import bundle

    with interruptible("nothing is known of the bundle"):
        say(escape(bundle.verify_bundle(folder)))


@commands.command("export", epilog="Example: abundant bundle export demo/bundle --to torchscript networks.pt")
def export_bundle(
    folder: BundlePath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    to: Annotated[str, typer.Option(help="torchscript, or onnx (needs the packages onnx and onnxscript).")],
) -> None:
    """Write the networks, scalers folded in, for programs that are not this one."""
    from jobs import bundle

    with interruptible("nothing was written"):
        bundle.export_bundle(folder, to, file)
