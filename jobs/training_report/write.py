"""The report on disk: a folder that is there in full or not at all, and what is added to it on request."""

import secrets
from collections.abc import Iterator
from pathlib import Path

from engine.errors import InputError
from engine.models.card import Card
from engine.train.report import Gradients, Validation, load_validation, save_validation
from jobs.training_report.figures import KINDS, Picture, kind_of, pictures
from jobs.training_report.page import page

PAGE, PREDICTIONS = "report.html", "predictions.parquet"


def report_place(bundle: Path) -> Path:
    """The folder of the report on a bundle, beside it."""
    out = bundle.resolve()
    return out.with_name(f"{out.name}-report")


def write_report(folder: Path, card: Card, validation: Validation) -> Path:
    """Write report.html, every figure as PNG and predictions.parquet to a new folder; the page's path.

    InputError if the folder already holds something, or cannot be written: nothing is then left of it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not empty; choose another folder for the report, or delete it")
    drawn = list(pictures(validation, card))
    text = page(validation, card, drawn)
    real = folder.resolve()
    beside = real.with_name(f".{real.name}.{secrets.token_hex(4)}")
    try:
        beside.mkdir(parents=True)
        save_validation(beside / PREDICTIONS, validation)
        for picture in drawn:
            (beside / picture.file).write_bytes(picture.png)
        (beside / PAGE).write_text(text, encoding="utf-8")
        # Takes the place of an empty folder, and fails on any other.
        beside.rename(real)
    except OSError as error:
        _remove(beside)
        raise InputError(f"{folder}: the report cannot be written: {error}") from error
    return folder / PAGE


def add_gradients(folder: Path, card: Card, found: Gradients) -> Path:
    """Draw gradients into the report of a bundle, whose page is then written anew; the page's path.

    InputError where there is no report of this bundle, or it cannot be written: the page is then as it was.
    """
    _check_of(folder, card)
    validation = load_validation(folder / PREDICTIONS)
    added = list(pictures(validation, card, (kind_of(found),)))
    try:
        text = page(validation, card, [*_drawn(folder), *added])
        contents = {picture.file: picture.png for picture in added} | {PAGE: text.encode()}
        for name, content in contents.items():
            _replace(folder / name, content)
    except OSError as error:
        raise InputError(f"{folder}: the report cannot be written: {error}") from error
    return folder / PAGE


def _drawn(folder: Path) -> Iterator[Picture]:
    """The figures that a report has, in its order, but for those on request."""
    for kind in KINDS:
        files = folder.glob(f"{kind.name}-*.png")
        for file in sorted(files, key=lambda file: (len(file.name), file.name)):
            yield Picture(file=file.name, kind=kind, png=file.read_bytes())


def _check_of(folder: Path, card: Card) -> None:
    """InputError unless this is the report of this bundle."""
    try:
        text = (folder / PAGE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{folder} holds no {PAGE}: name a file of its own for the gradients: --out FILE.png"
        ) from error
    if card.weights_sha256 not in text:
        raise InputError(
            f"{folder / PAGE} is about other weights than those of {card.name}; use --out FILE.png"
        )


def _replace(path: Path, content: bytes) -> None:
    """Write a file that a reader sees whole, as it was or as it is."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _remove(beside: Path) -> None:
    """Take back what was written so far: files that this module made, in a folder of its own."""
    for file in beside.glob("*"):
        file.unlink()
    if beside.exists():
        beside.rmdir()
