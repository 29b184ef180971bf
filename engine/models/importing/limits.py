"""The limits of a published training set, which its min-max scalers are made of."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from engine.errors import InputError
from engine.models.architecture import Architecture
from engine.models.importing.tables import numbers_of, read_table, rows_of
from engine.types import Floats, Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLimits:
    """Least and greatest value of every label and extra among the training stars."""

    labels: tuple[Limits, ...]
    extras: tuple[Limits, ...]
    stars: int

    def scalers(self, pixels: int) -> dict[str, Floats]:
        """Min-max scalers by their names in a bundle; pixels are left as they are."""
        inputs = [*([Limits(name="", low=0.0, high=1.0)] * pixels), *self.extras]
        found = {}
        for name, limits in (("input", inputs), ("label", self.labels)):
            low, high = np.array([(limit.low, limit.high) for limit in limits], np.float32).T
            found |= {f"{name}.centre": low, f"{name}.scale": high - low}
        return found


def read_limits(
    architecture: Architecture, labels: Path | None, parameters: Path | None, stars: Path | None
) -> TrainingLimits:
    """The limits in tables of the training stars; InputError, with the remedy, where they do not give them.

    `labels` has a row for each training star; so has `parameters`, the columns that the network's extras are
    computed from, or one for each row of `stars`, which shares an id column with `labels`.
    """
    if labels is None:
        raise InputError(
            f"{architecture.name} was trained on labels from 0 to 1: without those of its training set they "
            "cannot be turned back; give --labels, a CSV of the training stars' labels"
        )
    table = read_table(labels)
    columns = {name: numbers_of(labels, table, name) for name in architecture.labels}
    return TrainingLimits(
        labels=tuple(_limits(labels, name, values) for name, values in columns.items()),
        extras=_extras(architecture, labels, table, parameters, stars),
        stars=len(table),
    )


def _extras(
    architecture: Architecture, labels: Path, table: pa.Table, parameters: Path | None, stars: Path | None
) -> tuple[Limits, ...]:
    """Limits of what the network takes beside the spectrum, computed as in a run."""
    if not architecture.extras:
        if parameters is not None or stars is not None:
            raise InputError(
                f"{architecture.name} takes nothing beside spectra: leave out --parameters, --stars"
            )
        return ()
    if parameters is None:
        raise InputError(
            f"{architecture.name} takes more than spectra, scaled by the limits of its training set; give "
            f"--parameters, a CSV of the training stars' {', '.join(architecture.needs)}"
        )
    given = _training_rows(read_table(parameters), parameters, labels, table, stars, architecture)
    columns = {name: numbers_of(parameters, given, name) for name in architecture.needs}
    extras = architecture.beside(pa.table(columns))
    return tuple(
        _limits(parameters, name, x_N) for name, x_N in zip(extras.names, extras.value_NE.T, strict=True)
    )


def _training_rows(
    given: pa.Table, parameters: Path, labels: Path, table: pa.Table, stars: Path | None, model: Architecture
) -> pa.Table:
    """The rows of the parameters that belong to training stars."""
    if stars is None:
        if len(given) != len(table):
            raise InputError(
                f"{parameters} has {len(given)} rows and {labels} {len(table)}: which of them are "
                "the training stars? Give --stars, a CSV with the ids of its rows"
            )
        return given
    named = read_table(stars)
    if len(given) != len(named):
        raise InputError(f"{parameters} has {len(given)} rows and {stars} {len(named)}, expected as many")
    return given.take(rows_of(stars, named, labels, table, model.labels))


def _limits(path: Path, name: str, values_N: np.ndarray) -> Limits:
    low, high = float(values_N.min()), float(values_N.max())
    if not np.float32(low) < np.float32(high):
        raise InputError(f"{path}: {name} is {low:g} for every star, which gives no range to scale by")
    return Limits(name=name, low=low, high=high)
