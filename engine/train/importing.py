"""Calibration of imported networks on their authors' own predictions, with errors, and the truth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.errors import InputError
from engine.models.architecture import Architecture
from engine.models.importing.tables import numbers_of, read_table, rows_of
from engine.train.calibrate import Residuals, fit_calibration
from engine.types import Calibration, Doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedErrors:
    """Predictions for stars that did not train, in CSV, and the labels of the same stars.

    The predictions have a column e<label> beside each label: the scatter over `networks` networks.
    """

    predictions: Path
    truth: Path
    networks: int


def calibrate_on(
    published: PublishedErrors, architecture: Architecture, members: int
) -> dict[str, Calibration]:
    """The calibration of every label, for the scatter over so many members of the same kind.

    S/N is not known, so one knot serves all, and label errors are not, so they count as the network's.
    InputError where the tables do not hold what this needs.
    """
    if published.networks < 2 or members < 2:
        raise InputError(
            f"errors are the scatter over networks: {members} to import and {published.networks} that "
            "predicted (--predicted-by), expected two or more of each; leave out --predictions otherwise"
        )
    predicted, truth = read_table(published.predictions), read_table(published.truth)
    rows = rows_of(published.predictions, predicted, published.truth, truth, architecture.labels)
    predicted = predicted.take(rows)
    ratio = _scatter(members) / _scatter(published.networks)
    found = {}
    for name in architecture.labels:
        residual_N = numbers_of(published.predictions, predicted, name)
        residual_N = residual_N - numbers_of(published.truth, truth, name)
        error_N = numbers_of(published.predictions, predicted, name, prefix="e")
        found[name] = fit_calibration(_residuals(residual_N, ratio * error_N))
    return found


def _scatter(networks: int) -> float:
    """Root mean square of the standard deviation over some networks (ddof 0), where over many it is 1."""
    return float(np.sqrt((networks - 1) / networks))


def _residuals(residual_N: Doubles, raw_N: Doubles) -> Residuals:
    rows = len(residual_N)
    return Residuals(
        residual_N=residual_N.astype(np.float32),
        raw_N=raw_N.astype(np.float32),
        label_error_N=np.zeros(rows, np.float32),
        snr_N=np.ones(rows, np.float32),
    )
