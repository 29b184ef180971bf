"""The straight line. Start reading here."""

from collections.abc import Sequence

import pyarrow as pa

from engine.distance import with_distances
from engine.draw import Drawer
from engine.estimate import estimate
from engine.flags import flag, task_failed
from engine.models.model import Model
from engine.rounding import rounded_estimates, rounded_support
from engine.rows import labelled_rows, rows_without_result
from engine.side import side_arrays, side_columns
from engine.spec import SideColumn
from engine.support import assess
from engine.types import Batch


def infer(batch: Batch, model: Model, draw: Drawer, side: Sequence[SideColumn] = ()) -> pa.Table:
    """Labels for one batch of spectra: the same rows in the same order, none dropped.

    The columns of a side catalog, where any are asked for, follow those of the catalog.
    """
    spectra, columns = batch.spectra, (*model.columns, *side_columns(side, model.labelling))
    if batch.failure is not None:
        flags = task_failed(len(spectra), model.sides)
        published = model.publish(spectra, None, flags.sides)
        return rows_without_result(batch, flags=flags, published=published, columns=columns)
    inputs = batch.inputs or model.prepare(spectra, draw.away)
    draws = draw(inputs)
    estimates = estimate(draws, inputs.usable_N, inputs.spectra.snr_N, model.labelling)
    beside = side_arrays(side, draws, estimates, model.labelling)
    if model.architecture.distances:
        estimates = with_distances(estimates, spectra)
    if model.rounded:
        estimates = rounded_estimates(estimates)
    support = assess(inputs, draws, estimates, labels=model.labels, known=model.known)
    flags = flag(spectra, model.spectrograph.frame, inputs=inputs, estimates=estimates, support=support)
    return labelled_rows(
        batch,
        inputs=inputs,
        estimates=estimates,
        support=rounded_support(support) if model.rounded else support,
        flags=flags,
        labels=model.labels,
        published={**model.publish(spectra, estimates, flags.sides), **beside},
        columns=columns,
    )
