"""What a side catalog holds beside the keys: how a star's labels err together, and how its draws spread.

Both are about the network's own labels, then the derived ones, in the catalog's order; distances, which
follow from one of them and photometry, are left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.errors import UnexpectedNaN
from engine.estimate import Labelling, label_draws, predicted_variance
from engine.spec import SideColumn
from engine.types import Column, Doubles, Draws, Estimates, Floats

POINTS = (2.5, 16.0, 50.0, 84.0, 97.5)
"""Percent of the draws."""


def covariance(draws: Draws, estimates: Estimates, labelling: Labelling) -> Floats:
    """The packed lower triangle of each star's covariance, shape (N, L (L + 1) / 2): see `covariances`."""
    matrix_NLL = covariances(draws, estimates.total_NL[:, : len(labelling.labels)], labelling)
    row, column = np.tril_indices(matrix_NLL.shape[1])
    return matrix_NLL[:, row, column].astype(np.float32)


def covariances(draws: Draws, total_NL: Floats, labelling: Labelling) -> Doubles:
    """The covariance of each star's labels in physical units, shape (N, L, L).

    R = A (cov(draws, ddof 0) + diag(predicted noise)) A^T, where A takes the network's outputs to all labels
    (1; for derived ones +1 and -1), so the diagonal of R is e_x_model² + e_x_noise². Published is
    C_ij = R_ij e_i e_j / sqrt(R_ii R_jj): the correlations of R with the catalog's errors, C_ii = e_i².
    Calibration is of single labels; it says nothing of correlations, which stay. Where a label has no spread
    its covariances are 0.
    """
    output_KNM = label_draws(draws, labelling)[..., : draws.value_KNL.shape[2]]
    away_NMK = np.ascontiguousarray(np.moveaxis(output_KNM - output_KNM.mean(axis=0), 0, 2))
    raw_NMM = away_NMK @ away_NMK.swapaxes(1, 2) / len(output_KNM)
    if (variance_NM := predicted_variance(draws, labelling)) is not None:
        raw_NMM += variance_NM[:, :, None] * np.eye(raw_NMM.shape[1])
    all_LM = _all_labels(labelling, raw_NMM.shape[1])
    raw_NLL = all_LM @ raw_NMM @ all_LM.T
    e_NL, spread_NL = total_NL.astype(np.float64), np.sqrt(_diagonals(raw_NLL).clip(0))
    scale_NL = np.divide(e_NL, spread_NL, out=np.zeros_like(e_NL), where=spread_NL > 0)
    matrix_NLL = raw_NLL * scale_NL[:, :, None] * scale_NL[:, None, :]
    _diagonals(matrix_NLL)[:] = e_NL**2
    return matrix_NLL


def quantiles(draws: Draws, _estimates: Estimates, labelling: Labelling) -> Floats:
    """POINTS of each label's draws, one label after the other, shape (N, 5 L).

    Of the draws alone: neither predicted noise nor calibration is in them.
    """
    point_QNL = np.percentile(label_draws(draws, labelling), POINTS, axis=0)
    return np.moveaxis(point_QNL, 0, 2).reshape(point_QNL.shape[1], -1).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One column: how many numbers it takes for L labels, and where they come from.

    `text` is its description, in which the labels with their units take the place of {labels}.
    """

    size: Callable[[int], int]
    compute: Callable[[Draws, Estimates, Labelling], Floats]
    ucd: str
    text: str


SIDES: Mapping[SideColumn, Side] = {
    "covariance": Side(
        size=lambda labels: labels * (labels + 1) // 2,
        compute=covariance,
        ucd="stat.covariance",
        text="Covariance of {labels}: its lower triangle, row by row; element i (i + 1) / 2 + j is that of "
        "labels i >= j, counted from 0, in the product of their units. Correlations are those of the draws, "
        "predicted noise added to the variances; the diagonal is e_<label> squared. NULL = no result",
    ),
    "quantiles": Side(
        size=lambda labels: labels * len(POINTS),
        compute=quantiles,
        ucd="stat.value",
        text=f"The {', '.join(f'{point:g}' for point in POINTS)} percent points of the draws of {{labels}}: "
        f"{len(POINTS)} numbers of each label in turn, without predicted noise or calibration. "
        "NULL = no result",
    ),
}


def side_columns(asked: Sequence[SideColumn], labelling: Labelling) -> tuple[Column, ...]:
    """The columns of a side catalog that the labels make: lists of a fixed number of float32."""
    labels = ", ".join(f"{one.name} [{one.unit}]" if one.unit else one.name for one in labelling.labels)
    return tuple(
        Column(
            name=name,
            type=_numbers(SIDES[name].size(len(labelling.labels))),
            ucd=SIDES[name].ucd,
            description=SIDES[name].text.format(labels=labels),
        )
        for name in asked
    )


def side_arrays(
    asked: Sequence[SideColumn], draws: Draws, estimates: Estimates, labelling: Labelling
) -> dict[str, pa.Array]:
    """What was asked for as Arrow arrays, NULL for stars without a result.

    UnexpectedNaN if any other has something that is not a number.
    """
    known_N = estimates.known_NL[:, : len(labelling.labels)].all(axis=1)
    made = {}
    for name in asked:
        number_NX = SIDES[name].compute(draws, estimates, labelling)
        if not np.isfinite(number_NX[known_N]).all():
            raise UnexpectedNaN(f"{name} is not a number for a star with a result")
        kind = _numbers(number_NX.shape[1])
        flat = pa.array(number_NX.ravel())
        made[name] = pa.FixedSizeListArray.from_arrays(flat, type=kind, mask=pa.array(~known_N))
    return made


def _numbers(size: int) -> pa.DataType:
    """A list of so many float32; its field is named as Parquet names it, so that types read back equal."""
    return pa.list_(pa.field("element", pa.float32()), size)


def _all_labels(labelling: Labelling, outputs: int) -> Doubles:
    """The matrix that takes a network's outputs to all labels, derived ones last, shape (L, M)."""
    names = [label.name for label in labelling.labels]
    rows = [np.eye(outputs)]
    for one in labelling.derived:
        row_M = np.zeros(outputs)
        row_M[names.index(one.minuend)] += 1
        row_M[names.index(one.subtrahend)] -= 1
        rows.append(row_M[None])
    return np.concatenate(rows)


def _diagonals(matrix_NLL: Doubles) -> Doubles:
    """The diagonal of each matrix, shape (N, L); writes go through."""
    return np.einsum("nll->nl", matrix_NLL)
