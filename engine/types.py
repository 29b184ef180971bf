"""The nouns, frozen: no torch, no ray, no I/O.

Array names end in their axes: N rows, P pixels, L labels (derived ones included), K draws.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int32]
Bits: TypeAlias = npt.NDArray[np.int16]
Bools: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table: its Arrow type, unit (VOUnit, "" = none), UCD1+ and meaning."""

    name: str
    type: pa.DataType
    unit: str = ""
    ucd: str = ""
    description: str


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
class Grid:
    """A wavelength grid of equal steps: `start + step * k`, k = 0 … pixels - 1.

    A linear grid counts in Angstrom, a log10 grid in log10 of Angstrom (apStar: 4.179 + 6e-6 k).
    """

    start: float
    step: float
    pixels: int
    spacing: Literal["linear", "log10"] = "linear"

    @property
    def wave_P(self) -> Doubles:
        """Wavelengths in Angstrom, shape (pixels,)."""
        steps_P = self.start + self.step * np.arange(self.pixels, dtype=np.float64)
        return steps_P if self.spacing == "linear" else 10.0**steps_P

    @property
    def low(self) -> float:
        """The first wavelength in Angstrom."""
        return self._wave(0)

    @property
    def high(self) -> float:
        """The last wavelength in Angstrom."""
        return self._wave(self.pixels - 1)

    def position(self, wave: Doubles) -> Doubles:
        """Where wavelengths in Angstrom lie on the grid, in pixels from 0."""
        return ((wave if self.spacing == "linear" else np.log10(wave)) - self.start) / self.step

    def _wave(self, k: int) -> float:
        step = self.start + self.step * k
        return step if self.spacing == "linear" else 10.0**step


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """Wavelengths that every spectrum brings itself, in the column wave_<arm>: `pixels` at most.

    They ascend; pixels that a shorter spectrum lacks stand at its end with a wavelength of NaN.
    `low` and `high` say in Angstrom what the instrument covers.
    """

    pixels: int
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """No wavelengths: `pixels` coefficients of basis functions (Gaia XP)."""

    pixels: int


Axis: TypeAlias = Grid | Waves | Basis


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One camera of a spectrograph and where its pixels lie."""

    name: str
    grid: Axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrograph:
    """How a survey's spectra come: cameras, velocity frame, wavelengths in vacuum or air."""

    arms: tuple[Arm, ...]
    frame: Literal["observed", "rest"]
    medium: Literal["vacuum", "air"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What a network wants to see: pixels on a grid (or coefficients), in which frame and medium.

    `parts` are the ranges of the grid's pixels that it takes, all of them where there are none. A missing
    pixel reaches the network as the training set's centre, or as a flux of one where `missing` says so.
    """

    grid: Grid | Basis
    frame: Literal["observed", "rest"]
    medium: Literal["vacuum", "air"]
    parts: tuple[tuple[int, int], ...] = ()
    missing: Literal["centre", "one"] = "centre"

    @property
    def pixels(self) -> int:
        """How many pixels (or coefficients) it takes."""
        return sum(stop - start for start, stop in self.parts) if self.parts else self.grid.pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """Numbers that a network takes beside pixels: a magnitude, or an array of coefficients.

    `limited` ones are held against the training set's range and have a column flag_<name>.
    """

    name: str
    size: int = 1
    limited: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Where an HDU's data lies in its file: first byte, and the array found there.

    `dtype` is a numpy type string in file order (">f4"); "" marks data that only a FITS library can
    decode (compressed images, gzipped files).
    """

    offset: int
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the files of a shard that groups tiny ones, with its rows and what it was planned with."""

    path: str
    size: int
    rows: int
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One input file, as the index knows it; or a group of tiny ones, whose rows follow each other.

    `problem` says why the file cannot be read; its tasks then fail with that reason and nothing else
    is affected. `rows` is what could still be learned of such a file, often 0. The fingerprints are of
    the content that was planned with: of this file, and of the one that is read beside it ("" for none).
    """

    path: str
    size: int
    rows: int
    shard_id: str
    fingerprint: str = ""
    path_beside: str = ""
    fingerprint_beside: str = ""
    extents: Mapping[str, Extent] = field(default_factory=dict)
    problem: str | None = None
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Rows [start, stop) of a shard: the unit of reading, computing, retry, output and receipt."""

    task_id: str
    shard: Shard
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalised:
    """N continuum-normalised spectra on a model's grid, and what preparing them found out.

    Where `ivar_NP` is 0 the pixel is missing and its flux is 1. `lit_fraction_N` is the share of good pixels
    before the continuum, `good_fraction_N` after it. `snr_N` is the median over good pixels of
    flux * sqrt(ivar), per pixel; `nonfinite_N` and `spikes_N` count pixels that were masked for being NaN
    or infinite, and for being unphysically far from the continuum.
    """

    flux_NP: Floats
    ivar_NP: Floats
    snr_N: Floats
    lit_fraction_N: Floats
    good_fraction_N: Floats
    nonfinite_N: Ints
    spikes_N: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What N stars have of a network's extras, E numbers each in the order of `names`: NaN where missing.

    An array takes as many of the numbers as it is long, all under its name. `saturated_N` tells where a
    published formula clips what goes into it.
    """

    names: tuple[str, ...]
    value_NE: Floats
    saturated_N: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a network sees of N stars: `x_NI`, pixels first, then extras.

    A row with `usable_N` False carries zeros there; its labels must not be used.
    """

    x_NI: Floats
    usable_N: Bools
    spectra: Normalised
    extras: Extras


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What was read for one task: spectra, or the reason why there are none.

    When `failure` is set, `spectra` holds the columns without arrays of the rows whose ids could
    still be read, possibly none.
    """

    task: Task
    spectra: pa.Table
    failure: str | None = None
    seen: str = ""
    """Sizes and dates of the task's files when they were read."""
    inputs: Inputs | None = None
    """What was prepared with the read; None where the worker that labels prepares."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Proof that one task is done, written after its data.

    `rows` = `ok` + `flagged` + `no_result`. A failed task's rows, where their ids could be read, are
    staged as NO_RESULT rows and counted there. `seen` stands for the sizes and dates of its files when it
    was read: a task is done only as long as they stay the same.
    """

    task_id: str
    status: Literal["done", "failed"]
    rows: int
    ok: int
    flagged: int
    no_result: int
    flag_counts: Mapping[str, int]
    file: str
    bytes: int
    sha256: str
    reason: str = ""
    seen: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The receipt as plain values, ready for JSON."""
        return asdict(self)


class Sink(Protocol):
    """Where labels go. Staging the same task twice must leave the same single result."""

    def stage(
        self,
        task: Task,
        labels: pa.Table,
        *,
        failure: str | None,
        seconds: Mapping[str, float],
        seen: str = "",
    ) -> Receipt:
        """Write one task's labels durably and return its receipt; StagingError when that fails."""
        ...
