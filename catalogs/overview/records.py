"""What is counted of a catalog. Arrays end in their axes: X, Y cells of a plane, B bins, S bins of S/N."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

STEPS = 20
OUTCOMES = ("ok", "flag_warn", "flag_bad", "no result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """The values of one label in rows without flag_bad, and where the training range ends.

    `below`, `inside` and `above` count rows by the label's own flag; `outside_frame` those that no bin shows.
    """

    name: str
    unit: str
    low: float | None
    high: float | None
    edges: np.ndarray
    count_B: np.ndarray
    below: int
    inside: int
    above: int
    outside_frame: int

    @property
    def rows(self) -> int:
        """Rows that have the label."""
        return self.below + self.inside + self.above

    @property
    def occupied(self) -> float | None:
        """The share of STEPS equal steps of the training range that hold a row; None without such a range."""
        if self.low is None or self.high is None:
            return None
        middle_B = (self.edges[:-1] + self.edges[1:]) / 2
        ends = (self.low, self.high)
        held, _ = np.histogram(middle_B, bins=STEPS, range=ends, weights=self.count_B)
        return float((held > 0).mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Good rows on two labels: how many in each cell, and the median of a third label there if asked for.

    `rows` are all of them, `beyond` those outside the cells.
    """

    x: str
    y: str
    x_edges: np.ndarray
    y_edges: np.ndarray
    count_XY: np.ndarray
    rows: int
    beyond: int
    z: str | None = None
    median_XY: np.ndarray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """An abundance ratio: `column`, or `minuend` - `base` where the catalog has no such column."""

    name: str
    base: str
    column: str | None = None
    minuend: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBand:
    """An error along S/N: its 16, 50 and 84 % points in each bin, NaN where a bin has too few rows."""

    low_S: np.ndarray
    median_S: np.ndarray
    high_S: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelErrors:
    """A label's error along S/N and its parts: `bands` by "total", "model", "noise", as far as there are."""

    name: str
    unit: str
    snr_edges: np.ndarray
    rows: int
    bands: Mapping[str, ErrorBand]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Rows along S/N by outcome (OUTCOMES, O); `unknown` have no S/N above 0."""

    snr_edges: np.ndarray
    count_SO: np.ndarray
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """Rows per HEALPix pixel (nested) of an order; only pixels that hold any."""

    order: int
    pixel_H: np.ndarray
    count_H: np.ndarray
    without_position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Something that cost rows: what, where an example is, how many tasks and rows."""

    reason: str
    example: str
    tasks: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Seconds of work in each stage, summed over the tasks that were done, and the rows that went through it.

    `commit`: seconds of each of its steps until the manifest was written. `labelling`: by the clock, of all
    drivers; None where their log is lost. `workers` label at the same time, 0 where that is not known.
    """

    tasks: int
    rows: int
    seconds: Mapping[str, float]
    commit: Mapping[str, float]
    labelling: float | None
    workers: int
    gpus: float
    machines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """Everything; what a catalog cannot tell is None or empty."""

    labels: tuple[str, ...]
    stars: int
    stars_with_result: int
    distributions: tuple[Distribution, ...]
    kiel: Plane | None
    ratios: tuple[Plane, ...]
    errors: tuple[LabelErrors, ...]
    outcomes: Outcomes | None
    sky: Sky | None
    zoom: Sky | None
    failures: tuple[Failed, ...]
    unreadable: tuple[Failed, ...]
    no_result: tuple[Failed, ...]
    speed: Speed | None
