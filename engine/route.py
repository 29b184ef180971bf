"""The straight line. Start reading here."""

from collections.abc import Sequence

import pyarrow as pa

from engine.draw import Bank, draw
from engine.estimate import estimate
from engine.flags import flag, task_failed
from engine.models.model import Model
from engine.rows import labelled_rows, rows_without_result
from engine.support import assess
from engine.types import Batch


def infer(batch: Batch, model: Model, networks: Sequence[Bank]) -> pa.Table:
    """Labels for one batch of spectra: the same rows in the same order, none dropped."""
    labels, columns = model.labels, model.columns
    if batch.failure is not None:
        flags = task_failed(len(batch.spectra), len(labels))
        return rows_without_result(batch, flags=flags, labels=labels, columns=columns)
    inputs = model.prepare(batch.spectra)
    draws = draw(networks, inputs)
    estimates = estimate(
        draws, inputs.usable_N, scale=model.label_scale, labels=labels, derived=model.derived
    )
    support = assess(inputs, estimates, labels=labels, subspace=model.subspace)
    flags = flag(batch.spectra, model.spectrograph.frame, inputs=inputs, estimates=estimates, support=support)
    return labelled_rows(
        batch,
        inputs=inputs,
        estimates=estimates,
        support=support,
        flags=flags,
        labels=labels,
        columns=columns,
    )
