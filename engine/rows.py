"""Labels -> catalog rows: the same rows in the same order, none dropped, NULL where there is no number."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from engine.columns import INDEX, schema
from engine.errors import UnexpectedNaN
from engine.positions import healpix29, known_positions
from engine.types import Batch, Bools, Column, Estimates, Flags, Floats, Inputs, Label, Support


def labelled_rows(
    batch: Batch,
    *,
    inputs: Inputs,
    estimates: Estimates,
    support: Support,
    flags: Flags,
    labels: Sequence[Label],
    published: Mapping[str, pa.Array],
    columns: Sequence[Column],
) -> pa.Table:
    """Catalog rows of a batch that was read and labelled."""
    given = {
        "snr": _finite(inputs.spectra.snr_N),
        "good_fraction": pa.array(inputs.spectra.good_fraction_N),
    }
    given |= {name: _finite(score_N) for name, score_N in support.scores.items()}
    for i, label in enumerate(labels):
        given |= _label_arrays(label.name, i, estimates)
    return _assemble(batch, {**given, **published}, flags, columns)


def rows_without_result(
    batch: Batch, *, flags: Flags, published: Mapping[str, pa.Array], columns: Sequence[Column]
) -> pa.Table:
    """Catalog rows of a batch that could not be read: ids and flags; the rest is NULL."""
    return _assemble(batch, published, flags, columns)


def _label_arrays(name: str, i: int, estimates: Estimates) -> dict[str, pa.Array]:
    found = {
        name: estimates.centre_NL,
        f"e_{name}": estimates.total_NL,
        f"e_{name}_model": estimates.model_NL,
        f"e_{name}_noise": estimates.noise_NL,
    }
    return {
        key: _labelled(key, x_NL[:, i], estimates.known_NL[:, i])
        for key, x_NL in found.items()
        if x_NL is not None
    }


def _labelled(name: str, x_N: Floats, known_N: Bools) -> pa.Array:
    """NULL for stars without a result; UnexpectedNaN if any other has no number."""
    if not np.isfinite(x_N[known_N]).all():
        raise UnexpectedNaN(
            f"{name} is not a number for a star with a result; is the card's calibration whole?"
        )
    return pa.array(x_N, mask=~known_N)


def _assemble(
    batch: Batch,
    given: Mapping[str, pa.Array],
    flags: Flags,
    columns: Sequence[Column],
) -> pa.Table:
    spectra, rows = batch.spectra, len(batch.spectra)
    ra_N, dec_N = (spectra[name].fill_null(np.nan).to_numpy() for name in ("ra", "dec"))
    nowhere_N = ~known_positions(ra_N, dec_N)
    known = {name: spectra[name] for name in spectra.column_names} | dict(given)
    known |= {f"flag_{name}": pa.array(bits) for name, bits in flags.sides.items()}
    known |= {
        INDEX.name: pa.array(healpix29(ra_N, dec_N)),
        "ra": pa.array(ra_N, mask=nowhere_N),
        "dec": pa.array(dec_N, mask=nowhere_N),
        "flags": pa.array(flags.row_N),
        "flag_warn": pa.array(flags.warn_N),
        "flag_bad": pa.array(flags.bad_N),
        "shard_id": pa.repeat(batch.task.shard.shard_id, rows),
        "task_id": pa.repeat(batch.task.task_id, rows),
    }
    target = schema(columns)
    arrays = [known[field.name] if field.name in known else pa.nulls(rows, field.type) for field in target]
    return pa.table(arrays, schema=target)


def _finite(x_N: Floats) -> pa.Array:
    """An Arrow array with NULL where the number is not finite."""
    return pa.array(x_N, mask=~np.isfinite(x_N))
