"""What a network says of stars, and what is known of that."""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.types.arrays import Bits, Bools, Floats, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Raw error -> calibrated error, sqrt((scale * raw)² + floor²), at one or more values of S/N.

    Between them scale and floor follow log(S/N) linearly; beyond them they stay.
    """

    snr: tuple[float, ...]
    scale: tuple[float, ...]
    floor: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One quantity a model gives, in physical units, with what its training knew.

    `low` and `high` bound the training set, None where that is not known. `calibration` is None for a
    label whose errors are raw.
    """

    name: str
    unit: str
    ucd: str
    description: str
    low: float | None = None
    high: float | None = None
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """A label that is the difference of two others, formed per draw: mg_fe = mg_h - fe_h."""

    name: str
    minuend: str
    subtrahend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """K draws of L outputs for N stars, in scaled label units; the last hidden layer without dropout."""

    value_KNL: Floats
    hidden_NH: Floats
    log_variance_KNL: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """Labels in physical units, derived ones included: centre and 1-sigma errors, shape (N, L).

    `noise_NL` is None for networks that predict no variance. `total_NL` is the calibrated error, or
    sqrt(model² + noise²) where `calibrated` is False. Where `known_NL` is False there is no result, and the
    numbers mean nothing.
    """

    centre_NL: Floats
    model_NL: Floats
    noise_NL: Floats | None
    total_NL: Floats
    known_NL: Bools
    calibrated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The range that the training set has of one of a network's extras."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """How N stars stand to the training set: bits by label and by limited extra, and scores.

    `scores` are distances by the names of their columns (NaN = unknown), `beyond` tells by the same names
    which of them are too far.
    """

    labels: Mapping[str, Bits]
    extras: Mapping[str, Bits]
    scores: Mapping[str, Floats]
    beyond: Mapping[str, Bools]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Bits of N rows: `row_N` by the registry with two summaries; `sides` by label or extra."""

    row_N: Ints
    warn_N: Bools
    bad_N: Bools
    sides: Mapping[str, Bits]
