"""The report on disk: a folder that is there in full or not at all."""

import secrets
from pathlib import Path

from engine.errors import InputError
from engine.models.card import Card
from engine.train.report import Validation, save_validation
from jobs.training_report.figures import pictures
from jobs.training_report.page import page

PAGE, PREDICTIONS = "report.html", "predictions.parquet"


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


def _remove(beside: Path) -> None:
    """Take back what was written so far: files that this module made, in a folder of its own."""
    for file in beside.glob("*"):
        file.unlink()
    if beside.exists():
        beside.rmdir()
