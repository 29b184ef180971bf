"""The flag registry, and flag(): the only place where row bits are set.

Bits are append-only: a published bit keeps its meaning for ever. Conditions never divide by a value.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from engine.positions import known_positions
from engine.support import ABOVE, BELOW, LEAST_GOOD_FRACTION, NO_LABEL
from engine.types import Bits, Bools, Estimates, Flags, Inputs, Ints, Support

LOW_SNR_BELOW = 10.0
FEW_GOOD_PIXELS_BELOW = 0.5
RV_DISAGREES_ABOVE_KMS = 100.0
MANY_SPIKES_FROM = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFacts:
    """What the survey says of the rows of a batch."""

    spectra: pa.Table
    frame: Literal["observed", "rest"]

    def column(self, name: str, missing: float) -> np.ndarray:
        """A numeric column of the batch, with `missing` where it is NULL."""
        return self.spectra[name].fill_null(missing).to_numpy()

    def says(self, name: str, word: str) -> Bools:
        """Where a text column holds a word."""
        return np.array([found == word for found in self.spectra[name].to_pylist()], bool)

    def differs(self, name: str, expected: str) -> Bools:
        """Where a text column is known and is not the expected word."""
        return np.array([word not in (None, expected) for word in self.spectra[name].to_pylist()], bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts(RowFacts):
    """What is known of a batch when its flags are set."""

    inputs: Inputs
    estimates: Estimates
    support: Support

    def beyond(self, score: str) -> Bools:
        """Where a distance from the training set is too large; nowhere if the bundle does not give it."""
        return self.support.beyond.get(score, np.zeros(len(self.spectra), bool))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One bit: its severity, the condition that sets it, and the sentence an astronomer reads."""

    bit: int
    name: str
    severity: Literal["info", "warn", "bad"]
    text: str
    condition: Callable[[Facts], Bools]

    @property
    def value(self) -> int:
        """The bit as a number."""
        return 1 << self.bit


def _never(facts: Facts) -> Bools:
    return np.zeros(len(facts.spectra), bool)


def _rv_doubtful(facts: RowFacts) -> Bools:
    rv, check = facts.column("rv", np.nan), facts.column("rv_check", np.nan)
    return (facts.column("rv_warn", 0) != 0) | (np.abs(rv - check) > RV_DISAGREES_ABOVE_KMS)


# Doubts that come with the row, whatever a network makes of it. Training does without such stars too.
DOUBTS: dict[str, Callable[[RowFacts], Bools]] = {
    "INSTRUMENT_BAD": lambda f: f.column("instrument_status", 0) != 0,
    "NOT_A_TARGET": lambda f: f.differs("object_type", "TGT"),
    "NOT_A_STAR": lambda f: f.differs("spectype", "STAR"),
    # A spectrum that comes at rest was shifted by its own pipeline.
    "NO_VELOCITY": lambda f: f.spectra["rv"].is_null().to_numpy() & (f.frame == "observed"),
    "VELOCITY_DOUBTFUL": _rv_doubtful,
}


def _without_position(facts: Facts) -> Bools:
    return ~known_positions(facts.column("ra", np.nan), facts.column("dec", np.nan))


def _without_continuum(facts: Facts) -> Bools:
    spectra = facts.inputs.spectra
    return (spectra.good_fraction_N < LEAST_GOOD_FRACTION) & (spectra.lit_fraction_N >= LEAST_GOOD_FRACTION)


def _outside(sides: Mapping[str, Bits], rows: int) -> Bools:
    outside_N = np.zeros(rows, bool)
    for bits_N in sides.values():
        outside_N |= (bits_N & (BELOW | ABOVE)) != 0
    return outside_N


def _some_labels_missing(facts: Facts) -> Bools:
    known_NL = facts.estimates.known_NL
    return np.any(known_NL, axis=1) & ~np.all(known_NL, axis=1)


FLAGS: tuple[Flag, ...] = (
    Flag(
        bit=0,
        name="NO_RESULT",
        severity="bad",
        text="No label could be computed; every label is NULL and another bit says why",
        condition=lambda f: ~np.any(f.estimates.known_NL, axis=1),
    ),
    Flag(
        bit=1,
        name="NO_GOOD_PIXELS",
        severity="bad",
        text="No pixel carries unmasked flux with positive ivar: a dead fibre",
        condition=lambda f: f.inputs.spectra.lit_fraction_N == 0,
    ),
    Flag(
        bit=2,
        name="FEW_GOOD_PIXELS",
        severity="warn",
        text=f"Less than {FEW_GOOD_PIXELS_BELOW:.0%} of the model's pixels carry good flux",
        condition=lambda f: f.inputs.spectra.good_fraction_N < FEW_GOOD_PIXELS_BELOW,
    ),
    Flag(
        bit=3,
        name="TASK_FAILED",
        severity="bad",
        text="The input file could not be read; the manifest gives the reason",
        condition=_never,
    ),
    Flag(
        bit=4,
        name="INSTRUMENT_BAD",
        severity="bad",
        text="The survey's own fibre status is not zero (instrument_status)",
        condition=DOUBTS["INSTRUMENT_BAD"],
    ),
    Flag(
        bit=5,
        name="NOT_A_TARGET",
        severity="bad",
        text="The fibre was on sky, stuck or unassigned (object_type is known and not TGT)",
        condition=DOUBTS["NOT_A_TARGET"],
    ),
    Flag(
        bit=6,
        name="NOT_A_STAR",
        severity="bad",
        text="The survey's redshift fitter found a class other than STAR",
        condition=DOUBTS["NOT_A_STAR"],
    ),
    Flag(
        bit=7,
        name="NO_VELOCITY",
        severity="warn",
        text="No radial velocity is known; the spectrum was taken to be at rest",
        condition=DOUBTS["NO_VELOCITY"],
    ),
    Flag(
        bit=8,
        name="VELOCITY_DOUBTFUL",
        severity="warn",
        text=f"Its pipeline warns, or rv and rv_check differ by more than {RV_DISAGREES_ABOVE_KMS:.0f} km/s",
        condition=DOUBTS["VELOCITY_DOUBTFUL"],
    ),
    Flag(
        bit=9,
        name="LOW_SNR",
        severity="warn",
        text=f"snr is below {LOW_SNR_BELOW:.0f}",
        condition=lambda f: ~(f.inputs.spectra.snr_N >= LOW_SNR_BELOW),
    ),
    Flag(
        bit=10,
        name="OUTSIDE_TRAINING",
        severity="warn",
        text="A label lies outside the training range; flag_<label> says which and on which side",
        condition=lambda f: _outside(f.support.labels, len(f.spectra)),
    ),
    Flag(
        bit=11,
        name="UNCALIBRATED",
        severity="warn",
        text="Errors are raw spreads, known to be too small: the bundle is not calibrated for this sampling",
        condition=lambda f: np.full(len(f.spectra), not f.estimates.calibrated),
    ),
    Flag(
        bit=12,
        name="NONFINITE_FLUX",
        severity="info",
        text="NaN or infinite flux or ivar was found and masked",
        condition=lambda f: f.inputs.spectra.nonfinite_N > 0,
    ),
    Flag(
        bit=13,
        name="SPIKES",
        severity="warn",
        text=f"{MANY_SPIKES_FROM} or more pixels were masked for unphysical flux (cosmics, bad sky)",
        condition=lambda f: f.inputs.spectra.spikes_N >= MANY_SPIKES_FROM,
    ),
    Flag(
        bit=14,
        name="NO_CONTINUUM",
        severity="bad",
        text="Too little of the spectrum has a positive continuum to normalise it",
        condition=_without_continuum,
    ),
    Flag(
        bit=15,
        name="POSITION_MISSING",
        severity="warn",
        text="The file gives no finite position; ra and dec are NULL and the row sits in pixel 0",
        condition=_without_position,
    ),
    Flag(
        bit=16,
        name="UNLIKE_TRAINING",
        severity="warn",
        text="The spectrum is unlike those of the training set (support_chi2): do not trust its labels",
        condition=lambda f: f.beyond("support_chi2"),
    ),
    Flag(
        bit=17,
        name="POSITION_APPROXIMATE",
        severity="info",
        text="ra and dec are the centre of the HEALPix pixel in the Gaia source_id, good to 50 arcsec",
        condition=lambda f: f.says("position_source", "source_id"),
    ),
    Flag(
        bit=18,
        name="FILE_UNREADABLE",
        severity="bad",
        text="The star's own file could not be read; read_problem says why",
        condition=lambda f: f.spectra["read_problem"].is_valid().to_numpy(),
    ),
    Flag(
        bit=19,
        name="AUXILIARY_MISSING",
        severity="warn",
        text="A value that [[auxiliary]] was to join is missing: the table has no such row, or NULL in it",
        condition=lambda f: f.column("auxiliary_missing", 0) != 0,
    ),
    Flag(
        bit=20,
        name="LABEL_MISSING",
        severity="warn",
        text="Some labels are NULL while others are not; flag_<label> = 4 says which",
        condition=_some_labels_missing,
    ),
    Flag(
        bit=21,
        name="INPUT_MISSING",
        severity="bad",
        text="A number that the network needs beside the spectrum is missing; flag_<input> = 4 says which",
        condition=lambda f: np.any(np.isnan(f.inputs.extras.value_NE), axis=1),
    ),
    Flag(
        bit=22,
        name="INPUT_OUTSIDE_TRAINING",
        severity="warn",
        text="A number beside the spectrum lies outside the training range; flag_<input> says on which side",
        condition=lambda f: _outside(f.support.extras, len(f.spectra)),
    ),
    Flag(
        bit=23,
        name="PARALLAX_SATURATED",
        severity="warn",
        text="Its parallax is below 0.1 mas: absolute magnitudes are those of a star at 10 kpc",
        condition=lambda f: f.inputs.extras.saturated_N,
    ),
    Flag(
        bit=24,
        name="LABELS_UNLIKE_TRAINING",
        severity="warn",
        text="The labels together are unlike those of the training set (support_mahalanobis)",
        condition=lambda f: f.beyond("support_mahalanobis"),
    ),
    Flag(
        bit=25,
        name="LABELS_ISOLATED",
        severity="warn",
        text="No training stars have labels near these (support_neighbours)",
        condition=lambda f: f.beyond("support_neighbours"),
    ),
    Flag(
        bit=26,
        name="HIDDEN_UNLIKE_TRAINING",
        severity="warn",
        text="The network's last hidden layer answers as for no training star (support_hidden)",
        condition=lambda f: f.beyond("support_hidden"),
    ),
    Flag(
        bit=27,
        name="INSTRUMENT_WIGGLES",
        severity="warn",
        text="Slow residuals that no training star has (wiggle): ripples, or a spectrum of another kind",
        condition=lambda f: f.beyond("wiggle"),
    ),
    Flag(
        bit=28,
        name="LARGE_GAP",
        severity="warn",
        text="A longer run of pixels is missing than in stars like those of the training set (largest_gap)",
        condition=lambda f: f.beyond("largest_gap"),
    ),
)

BY_NAME = {flag.name: flag for flag in FLAGS}


def flag(
    spectra: pa.Table,
    frame: Literal["observed", "rest"],
    *,
    inputs: Inputs,
    estimates: Estimates,
    support: Support,
) -> Flags:
    """The bits of N rows, by row and by label; `frame` is the survey's."""
    facts = Facts(spectra=spectra, frame=frame, inputs=inputs, estimates=estimates, support=support)
    row_N = np.zeros(len(spectra), np.int32)
    for entry in FLAGS:
        row_N |= np.where(entry.condition(facts), entry.value, 0).astype(np.int32)
    return _with_summaries(row_N, {**support.labels, **support.extras})


def task_failed(rows: int, sides: Iterable[str]) -> Flags:
    """The bits of the rows of a task that could not be read; `sides` names labels and limited extras."""
    bits = BY_NAME["NO_RESULT"].value | BY_NAME["TASK_FAILED"].value
    nothing_N = np.full(rows, NO_LABEL, np.int16)
    return _with_summaries(np.full(rows, bits, np.int32), dict.fromkeys(sides, nothing_N))


def _with_summaries(row_N: Ints, sides: Mapping[str, Bits]) -> Flags:
    warn, bad = (sum(e.value for e in FLAGS if e.severity == severity) for severity in ("warn", "bad"))
    return Flags(row_N=row_N, warn_N=(row_N & warn) != 0, bad_N=(row_N & bad) != 0, sides=sides)


def names(bits: int) -> list[str]:
    """The names of the bits that are set, in bit order."""
    return [entry.name for entry in FLAGS if bits & entry.value]
