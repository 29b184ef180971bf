"""Predicted and true labels of stars kept apart, and how the training went.

Array names end in their axes: N stars, L labels (derived ones included).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from engine.types import Bools, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochScore:
    """What one epoch reached; `scatter` is that of validation stars by label, in its unit, where followed.

    The last that is `best` is the epoch whose weights were kept.
    """

    number: int
    train_loss: float
    validation_loss: float
    best: bool
    scatter: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelStars:
    """The stars of which one label is both known and predicted; `row_N` says where they stand.

    `reference_N` is None without a reference pipeline, and NaN for stars that it has no label of.
    """

    row_N: np.ndarray
    truth_N: Floats
    label_error_N: Floats
    centre_N: Floats
    raw_error_N: Floats
    total_error_N: Floats
    snr_N: Floats
    reference_N: Floats | None = None

    @property
    def residual_N(self) -> Floats:
        """Predicted minus true."""
        return self.centre_N - self.truth_N

    @property
    def expected_N(self) -> Floats:
        """The scatter that calibrated error and the label's own error lead to expect."""
        return np.hypot(self.total_error_N, self.label_error_N)

    def __len__(self) -> int:
        return len(self.row_N)

    def take(self, rows: np.ndarray) -> "LabelStars":
        """Some of the stars."""
        names = [name for name in self.__slots__ if getattr(self, name) is not None]
        return LabelStars(**{name: getattr(self, name)[rows] for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What a network says of N stars of one part of the training set, in physical units.

    `known_NL` is False where a label is missing; `centre_NL` is NaN where there is no result.
    `raw_error_NL` is what the draws give, `total_error_NL` the calibrated error of the prediction, without
    the label's own, `label_error_NL`. `reference_NL` are the labels of the pipeline named `reference`, NaN
    where it has none. `ids` has a row for each star, the survey's keys and `star`, by which other tables
    join. `chi2` is the mean of (residual / error)² over known labels, floors of errors included, with the
    weights that were kept and without dropout; None where labels have no errors.
    """

    split: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    truth_NL: Floats
    label_error_NL: Floats
    known_NL: Bools
    centre_NL: Floats
    raw_error_NL: Floats
    total_error_NL: Floats
    snr_N: Floats
    reference: str = ""
    reference_NL: Floats | None = None
    history: tuple[EpochScore, ...] = ()
    ids: pa.Table | None = None
    chi2: float | None = None

    def __post_init__(self) -> None:
        shape = (len(self.snr_N), len(self.names))
        arrays = [getattr(self, name) for name in self.__slots__ if name.endswith("_NL")]
        assert len(self.units) == len(self.names)
        assert all(array is None or array.shape == shape for array in arrays)
        assert (self.reference_NL is None) == (not self.reference)
        assert self.ids is None or len(self.ids) == len(self)

    def __len__(self) -> int:
        return len(self.snr_N)

    def stars(self, name: str) -> LabelStars:
        """The stars that can be judged by one label."""
        at = self.names.index(name)
        row_N = np.flatnonzero(self.known_NL[:, at] & np.isfinite(self.centre_NL[:, at]))
        columns = ("truth", "label_error", "centre", "raw_error", "total_error")
        reference_NL = self.reference_NL
        return LabelStars(
            row_N=row_N,
            **{f"{column}_N": getattr(self, f"{column}_NL")[row_N, at] for column in columns},
            snr_N=self.snr_N[row_N],
            reference_N=None if reference_NL is None else reference_NL[row_N, at],
        )

    def axes(self) -> Mapping[str, Floats]:
        """What residuals are looked at along: S/N, and true Teff and metallicity where they are labels."""
        found = {"snr": self.snr_N}
        metallicity = "fe_h" if "fe_h" in self.names else "m_h"
        for name in ("teff", metallicity):
            if name in self.names:
                at = self.names.index(name)
                found[name] = np.where(self.known_NL[:, at], self.truth_NL[:, at], np.float32(np.nan))
        return found
