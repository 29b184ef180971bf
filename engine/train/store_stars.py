"""Labelled spectra in memory, and the parts that they are shared out to."""

from dataclasses import dataclass

import numpy as np

from engine.types import Bools, Floats

PARTS = ("train", "validation", "calibration", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSpectra:
    """Normalised spectra, extras, labels and the labels' own errors, shape (N, L).

    `known_NL` is False where a label is missing; an error is 0 where the table gives none.
    """

    flux_NP: Floats
    ivar_NP: Floats
    snr_N: Floats
    extra_NE: Floats
    label_NL: Floats
    error_NL: Floats
    known_NL: Bools
    part_N: np.ndarray

    def part(self, name: str) -> "LabelledSpectra":
        """The stars of one part: train, validation, calibration or test."""
        return self.take(self.part_N == PARTS.index(name))

    def take(self, rows: np.ndarray) -> "LabelledSpectra":
        """Some of the stars."""
        return LabelledSpectra(**{name: getattr(self, name)[rows] for name in self.__slots__})

    def __len__(self) -> int:
        return len(self.flux_NP)
