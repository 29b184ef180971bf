"""Commands to look around: the demo, simulated files, what a file is, what is registered."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.shared import group, show_page
from jobs.interrupt import interruptible
from jobs.progress import say

commands = group()


@commands.command(epilog="Example: abundant demo --dir demo")
def demo(
    folder: Annotated[Path, typer.Option("--dir", help="A new folder for everything it makes.")] = Path(
        "demo"
    ),
) -> None:
    """Simulate a small DESI survey, train, run, verify, query and plot: the whole road in minutes."""
    from jobs.demo import run_demo

    with interruptible(f"what is made so far is in {folder}"):
        run_demo(folder)


@commands.command(epilog="Example: abundant simulate desi survey --stars 2000 --seed 1")
def simulate(
    survey: Annotated[
        str,
        typer.Argument(
            metavar="SURVEY",
            help="Which survey's format: desi, gaia_rvs, gaia_xp, gaia_xp_sampled, apogee, apogee_visit, "
            "rave, giraffe, galah or table.",
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    stars: Annotated[
        int, typer.Option(help="How many stars; for desi, rows that are stars by target bits.")
    ] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same survey.")] = 1,
    labels: Annotated[
        Path | None, typer.Option(help="Parquet table of labels to use instead of random stars.")
    ] = None,
    resolution: Annotated[
        bool, typer.Option(help="desi: write the RESOLUTION images, 78 % of a file.")
    ] = True,
) -> None:
    """Write spectra in a survey's own format, with what real files contain, and a truth table beside them."""
    from jobs.simulate import run_simulation

    with interruptible(f"what is written so far is in {folder}"):
        run_simulation(survey, folder, stars=stars, seed=seed, labels=labels, resolution=resolution)


@commands.command(epilog="Example: abundant inspect coadd-main-bright-10016.fits --plot spectrum.png")
def inspect(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file of spectra, of any survey.")],
    plot: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw one row before and after prepare.")
    ] = None,
    row: Annotated[int, typer.Option(help="The row to draw.")] = 0,
    survey: Annotated[str | None, typer.Option(help="Ask this survey's reader only.")] = None,
) -> None:
    """What a file is: its survey, rows, grids, S/N, missing data, and the models that could read it."""
    from jobs.inspect import draw_row, guess, page

    found = guess(path, survey=survey)
    show_page(page(found))
    if plot is not None:
        draw_row(found, row, plot)
        say(f"Row {row} is drawn in {plot}")


@commands.command(epilog="Example: abundant surveys")
def surveys() -> None:
    """The surveys that can be read."""
    from jobs import show

    show_page(show.surveys())


@commands.command(epilog="Example: abundant models")
def models() -> None:
    """The networks that can be trained and run, with their parameter counts."""
    from jobs import show

    show_page(show.models())


@commands.command(epilog="Example: abundant flags")
def flags() -> None:
    """The row flags: bit, severity and meaning."""
    from jobs import show

    show_page(show.flags())
