"""The command `abundant`.

Exit codes: 0 done, 1 run or check failed, 2 wrong input, 130 interrupted, 141 nobody reads the output.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.markup import escape

from engine.errors import AbundantError, InputError, RunError
from engine.spec import Profile, RunSpec
from engine.toml import load
from jobs.interrupt import interruptible
from jobs.progress import CONSOLE, say

GOES_ON = "what is done is kept; the same command goes on from here"
# As shells count: 128 and the number of the signal, SIGPIPE.
CLOSED_PIPE = 141


@contextmanager
def printing() -> Iterator[None]:
    """RunError where stdout takes no more; a reader that has enough (`| head`) ends the program silently."""
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        if error.errno is None:
            raise
        if error.errno != errno.EPIPE:
            raise RunError(f"the output cannot be written: {error.strerror}") from error
        # What is left in stdout's buffer is flushed once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(CLOSED_PIPE) from None


def show_page(page: RenderableType) -> None:
    """Print on stdout. Rich only writes the text: by itself it would end the program at a closed pipe."""
    console = Console(highlight=False)
    with console.capture() as text:
        console.print(page)
    with printing():
        sys.stdout.write(text.get())


app = typer.Typer(
    help="Stellar labels for every spectrum in a survey.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="A run spec in TOML; see jobs/infer/.")]
ProfilePath = Annotated[
    Path | None, typer.Option("--profile", metavar="FILE", help="Where and how fast; see cluster/profiles/.")
]
CatalogPath = Annotated[
    Path, typer.Argument(metavar="CATALOG", help="A published catalog: root/name/version.")
]


class Form(StrEnum):
    """How `query` prints rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@app.command(epilog="Example: abundant demo --dir demo")
def demo(
    folder: Annotated[Path, typer.Option("--dir", help="A new folder for everything it makes.")] = Path(
        "demo"
    ),
) -> None:
    """Simulate a small DESI survey, train, run, verify, query and plot: the whole road in minutes."""
    from jobs.demo import run_demo

    with interruptible(f"what is made so far is in {folder}"):
        run_demo(folder)


@app.command(epilog="Example: abundant simulate desi survey --stars 2000 --seed 1")
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


@app.command(epilog="Example: abundant inspect coadd-main-bright-10016.fits --plot spectrum.png")
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


@app.command(epilog="Example: abundant plan demo/run.toml")
def plan(spec: SpecPath) -> None:
    """Check everything that can be checked, and show what a run would do. Nothing runs."""
    from engine.plan import make_plan
    from jobs import show
    from jobs.run import checked_layout

    with interruptible("nothing ran"):
        found = make_plan(load(spec, RunSpec))
        checked_layout(found)
        show_page(show.plan(found))


@app.command(epilog="Example: abundant crossmatch jobs/train/desi-mlp.toml")
def crossmatch(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A training spec in TOML; see jobs/train/.")],
) -> None:
    """Match spectra with labels, cut them, and keep the stars to learn from; `train` does it by itself."""
    from engine.train.spec import TrainSpec
    from jobs.crossmatch import run_crossmatch

    with interruptible("nothing was written; the same command starts anew"):
        run_crossmatch(load(spec, TrainSpec))


@app.command(epilog="Example: abundant train jobs/train/desi-mlp.toml")
def train(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="A training spec in TOML; see jobs/train/.")],
    profile: ProfilePath = None,
) -> None:
    """Train a network on spectra with known labels, calibrate its errors and write a bundle.

    Without a profile in this process. The same command resumes an interrupted training.
    """
    from engine.train.spec import TrainSpec
    from jobs.training import run_training

    with interruptible("epochs that are done are kept; the same command goes on from the last"):
        run_training(load(spec, TrainSpec), load(profile, Profile) if profile else None)


@app.command(epilog="Example: abundant baseline jobs/train/desi-mlp.toml")
def baseline(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The spec of a training, done or not.")],
) -> None:
    """How well labels follow from Teff, logg and [Fe/H] alone, and whether the network does better."""
    from engine.train.spec import TrainSpec
    from jobs.baseline import page, run_baseline

    with interruptible("nothing was written"):
        show_page(page(run_baseline(load(spec, TrainSpec))))


@app.command(
    "import",
    epilog="Example: abundant import keras run_000.h5 run_001.h5 --model rave_cnn_2020 --labels y_train.csv "
    "--parameters photometry.csv --out bundles/rave-2020",
)
def import_weights(
    kind: Annotated[
        str,
        typer.Argument(metavar="KIND", help="keras: models saved as HDF5. astra: PyTorch files of AstroNN."),
    ],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Weights; several are the members of an ensemble.")
    ],
    model: Annotated[str, typer.Option(help="The network that they are of; see `abundant models`.")],
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="A new bundle directory.")],
    labels: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="keras: labels of the training stars, for their limits."),
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(metavar="CSV", help="keras: their photometry, where the network takes it.")
    ] = None,
    stars: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Ids of the rows of --parameters, if it has more stars."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Published labels and e<label> of test stars, to calibrate errors."),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(metavar="CSV", help="What the labels of those test stars are.")
    ] = None,
    predicted_by: Annotated[
        int | None, typer.Option(help="Networks that e<label> is the scatter of; if not as many as FILEs.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name on the card; that of the directory if not given.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the card.")] = "unspecified",
) -> None:
    """Turn published weights into a bundle. Files are read as data: nothing in them is run."""
    from jobs.importing import Tables, run_import

    tables = Tables(
        labels=labels,
        parameters=parameters,
        stars=stars,
        predictions=predictions,
        truth=truth,
        predicted_by=predicted_by,
    )
    with interruptible("nothing was written"):
        run_import(kind, tuple(files), model=model, out=out, tables=tables, name=name, licence=licence)


bundles = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")
app.add_typer(bundles, name="bundle", help="Look at a bundle, check it, or hand its networks on.")
BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder that `abundant train` wrote.")]


@bundles.command("show", epilog="Example: abundant bundle show demo/bundle --markdown")
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


@bundles.command("verify", epilog="Example: abundant bundle verify demo/bundle")
def verify_bundle(folder: BundlePath) -> None:
    """Check hashes, arrays and networks of a bundle, and that these answer with numbers."""
    from jobs import bundle

    with interruptible("nothing is known of the bundle"):
        say(escape(bundle.verify_bundle(folder)))


@bundles.command("export", epilog="Example: abundant bundle export demo/bundle --to torchscript networks.pt")
def export_bundle(
    folder: BundlePath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    to: Annotated[str, typer.Option(help="torchscript, or onnx (needs the packages onnx and onnxscript).")],
) -> None:
    """Write the networks, scalers folded in, for programs that are not this one."""
    from jobs import bundle

    with interruptible("nothing was written"):
        bundle.export_bundle(folder, to, file)


@app.command(epilog="Example: abundant run demo/run.toml --profile cluster/profiles/laptop.toml")
def run(spec: SpecPath, profile: ProfilePath = None) -> None:
    """Plan, label every spectrum, commit and verify. The same command resumes an interrupted run."""
    from engine.plan import make_plan
    from jobs import show
    from jobs.run import run as run_plan

    with interruptible(GOES_ON):
        found = make_plan(load(spec, RunSpec))
        CONSOLE.print(show.plan(found))
        say(show.finished(run_plan(found, load(profile, Profile) if profile else Profile())))


@app.command(epilog="Example: abundant commit demo/run.toml")
def commit(spec: SpecPath) -> None:
    """Publish what a finished run has staged, without running anything."""
    from engine.plan import make_plan
    from jobs import show
    from jobs.run import commit_run

    with interruptible(GOES_ON):
        say(show.published(commit_run(make_plan(load(spec, RunSpec)))))


@app.command(epilog="Example: abundant verify demo/catalogs/demo/1")
def verify(catalog: CatalogPath) -> None:
    """Check a published catalog from disk alone: rows, keys, order, pixels, NULLs and checksums."""
    from jobs.run import check

    with interruptible("nothing is known of the catalog"):
        report = check(catalog)
    say(f"Verified: {report.rows:,} rows of {catalog}")


@app.command(
    epilog='Example: abundant query demo/catalogs/demo/1 "SELECT count(*) FROM catalog WHERE NOT flag_bad"'
)
def query(
    catalog: CatalogPath,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT on the view `catalog`.")],
    form: Annotated[Form, typer.Option("--format", help="How to print rows.")] = Form.TABLE,
) -> None:
    """Ask a catalog in SQL (DuckDB), read-only."""
    from catalogs.formats import write
    from catalogs.query import stream

    with stream(catalog, sql) as rows, printing():
        write(rows, form.value, sys.stdout)


# A stuck fibre has a negative TARGETID, which must not be taken for an option.
@app.command(
    epilog="Example: abundant explain demo/catalogs/demo/1 39627345678901234",
    context_settings={"ignore_unknown_options": True},
)
def explain(
    catalog: CatalogPath,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Full key, slash-joined (NULL = none), or the id alone.")
    ],
) -> None:
    """One row back to its file and the row in it, with its flags in words."""
    from catalogs import open_catalog
    from catalogs.query import find
    from jobs import show

    show_page(show.explained(find(catalog, key.split("/")), open_catalog(catalog).manifest))


@app.command(epilog="Example: abundant surveys")
def surveys() -> None:
    """The surveys that can be read."""
    from jobs import show

    show_page(show.surveys())


@app.command(epilog="Example: abundant models")
def models() -> None:
    """The networks that can be trained and run, with their parameter counts."""
    from jobs import show

    show_page(show.models())


@app.command(epilog="Example: abundant flags")
def flags() -> None:
    """The row flags: bit, severity and meaning."""
    from jobs import show

    show_page(show.flags())


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
