"""The `import` command."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.models import MODELS
from engine.models.architecture import Architecture
from engine.models.bundle import check_place
from engine.models.card import Card
from engine.models.importing import (
    ASTRA,
    KERAS,
    About,
    TrainingLimits,
    Weights,
    read_astra,
    read_keras,
    read_limits,
    write_imported,
)
from engine.models.importing.weights import lineage_of
from engine.train.importing import PublishedErrors, calibrate_on
from engine.types import Calibration
from jobs.progress import say

# Kinds of files, and the networks that are known to be published so.
KNOWN: Mapping[str, tuple[str, ...]] = {"keras": KERAS, "astra": ASTRA}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """CSV tables beside the weights, as the options of the command say them."""

    labels: Path | None = None
    parameters: Path | None = None
    stars: Path | None = None
    predictions: Path | None = None
    truth: Path | None = None
    predicted_by: int | None = None


def run_import(
    kind: str, files: tuple[Path, ...], *, model: str, out: Path, tables: Tables, name: str, licence: str
) -> Card:
    """Convert published weights to a new bundle, and return its card; InputError for what does not fit."""
    check_place(out)
    if kind not in KNOWN:
        raise InputError(f"KIND {kind!r} is unknown; known: {', '.join(KNOWN)}")
    if model not in KNOWN[kind]:
        raise InputError(f"--model {model!r}: weights of {kind} are known of {', '.join(KNOWN[kind])}")
    architecture = MODELS[model]
    lineage: dict[str, Any] = {"imported": lineage_of(files)}
    weights, limits = _read(kind, files, architecture, tables)
    calibrations = _calibrations(architecture, tables, len(weights.members))
    used = [path for path in (tables.labels, tables.parameters, tables.stars) if path is not None]
    if limits is not None:
        lineage |= {"limits": {"stars": limits.stars, "files": lineage_of(tuple(used))}}
    if calibrations and tables.predictions and tables.truth:
        compared = (tables.predictions, tables.truth)
        networks = tables.predicted_by or len(weights.members)
        lineage |= {"calibration": {"networks": networks, "files": lineage_of(compared)}}
    about = About(name=name or out.absolute().name, licence=licence, lineage=lineage)
    card = write_imported(out, about, architecture, weights, limits=limits, calibrations=calibrations)
    say(_summary(card, out))
    return card


def _read(
    kind: str, files: tuple[Path, ...], architecture: Architecture, tables: Tables
) -> tuple[Weights, TrainingLimits | None]:
    """The weights, and the limits of their training set where the files do not bring scalers."""
    if kind == "keras":
        limits = read_limits(architecture, tables.labels, tables.parameters, tables.stars)
        return read_keras(files, architecture), limits
    if tables != Tables():
        raise InputError("files of astra bring their scalers: leave out all options with tables")
    if len(files) != 1:
        raise InputError(f"{architecture.name} is one network in one file, not {len(files)} files")
    return read_astra(files[0], architecture), None


def _calibrations(architecture: Architecture, tables: Tables, members: int) -> dict[str, Calibration]:
    """Calibrations by label, none where nothing is given to fit them on."""
    if tables.predictions is None or tables.truth is None:
        if (tables.predictions, tables.truth, tables.predicted_by) != (None, None, None):
            raise InputError("errors are calibrated with --predictions and --truth together: give both")
        return {}
    published = PublishedErrors(
        predictions=tables.predictions, truth=tables.truth, networks=tables.predicted_by or members
    )
    return calibrate_on(published, architecture, members)


def _summary(card: Card, out: Path) -> str:
    networks = f"{card.members} networks" if card.members > 1 else "one network"
    errors = "calibrated errors" if card.sampling else "errors as they are drawn, uncalibrated"
    return f"Bundle {card.name} in {out}: {networks} of {card.architecture}, {errors}"
