"""Commands that make models."""

from pathlib import Path
from typing import Annotated

import typer

from engine.spec import Profile
from engine.toml import load
from jobs.cli.shared import ProfilePath, TrainingPath, group, show_page
from jobs.interrupt import interruptible

commands = group()


@commands.command(epilog="Example: abundant crossmatch jobs/train/desi-mlp.toml")
def crossmatch(spec: TrainingPath) -> None:
    """Match spectra with labels, cut them, and keep the stars to learn from; `train` does it by itself."""
    from engine.train.spec import TrainSpec
    from jobs.crossmatch import run_crossmatch

    with interruptible("nothing was written; the same command starts anew"):
        run_crossmatch(load(spec, TrainSpec))


@commands.command(epilog="Example: abundant train jobs/train/desi-mlp.toml")
def train(spec: TrainingPath, profile: ProfilePath = None) -> None:
    """Train a network on spectra with known labels, calibrate its errors and write a bundle.

    Without a profile in this process. The same command resumes an interrupted training.
    """
    from engine.train.spec import TrainSpec
    from jobs.training import run_training

    with interruptible("epochs that are done are kept; the same command goes on from the last"):
        run_training(load(spec, TrainSpec), load(profile, Profile) if profile else None)


@commands.command(epilog="Example: abundant baseline jobs/train/desi-mlp.toml")
def baseline(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The spec of a training, done or not.")],
) -> None:
    """How well labels follow from Teff, logg and [Fe/H] alone, and whether the network does better."""
    from engine.train.spec import TrainSpec
    from jobs.baseline import page, run_baseline

    with interruptible("nothing was written"):
        show_page(page(run_baseline(load(spec, TrainSpec))))


@commands.command(
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
