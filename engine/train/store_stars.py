"""Labelled spectra in memory, and the parts that they are shared out to."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.types import Bools, Floats

PARTS = ("train", "validation", "calibration", "test")
OPTIONAL = ("reference_NL", "ids")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSpectra:
    """Normalised spectra, extras, labels and the labels' own errors, shape (N, L).

    `known_NL` is False where a label is missing; an error is 0 where the table gives none. `reference_NL` is
    what another pipeline says, NaN where it says nothing; `ids` has a row for each spectrum, the survey's
    keys and `star`. Both are None where they are not known.
    """

    flux_NP: Floats
    ivar_NP: Floats
    snr_N: Floats
    extra_NE: Floats
    label_NL: Floats
    error_NL: Floats
    known_NL: Bools
    part_N: np.ndarray
    reference_NL: Floats | None = None
    ids: pa.Table | None = None

    def part(self, name: str) -> "LabelledSpectra":
        """The stars of one part: train, validation, calibration or test."""
        return self.take(self.part_N == PARTS.index(name))

    def take(self, rows: np.ndarray) -> "LabelledSpectra":
        """Some of the stars: their indices, or a mask."""
        return LabelledSpectra(
            **{name: getattr(self, name)[rows] for name in self.__slots__ if name not in OPTIONAL},
            reference_NL=None if self.reference_NL is None else self.reference_NL[rows],
            ids=None if self.ids is None else self.ids.take(np.arange(len(self))[rows]),
        )

    def __len__(self) -> int:
        return len(self.flux_NP)
