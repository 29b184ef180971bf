"""Commands for a bundle on disk: `abundant bundle show|verify|export|gradients`."""

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


@commands.command(
    "gradients", epilog="Example: abundant bundle gradients demo/bundle --out li.png --within 6690 6725"
)
def draw_bundle(
    folder: BundlePath,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A new PNG, instead of the training's report.")
    ] = None,
    within: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Only these wavelengths, in Angstrom; needs --out."),
    ] = None,
) -> None:
    """Draw where in a spectrum each label is found: d label / d flux at the mean training spectrum.

    The figures join the page in BUNDLE-report, which `abundant train` wrote.
    """
    from jobs import bundle

    with interruptible("the report is as it was"):
        bundle.draw_bundle(folder, out, within)
