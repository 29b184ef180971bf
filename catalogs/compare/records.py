"""What a comparison finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The differences, first minus second, of the stars in one bin; what needs errors is None without them.

    `axis` is "" for all stars. `robust` is 1.4826 times the median absolute deviation; a pull is a difference
    over the errors of both, added in quadrature; outliers lie more than 5 robust scatters from the median.
    """

    axis: str
    low: float | None
    high: float | None
    stars: int
    bias: float
    scatter: float
    robust: float
    pull_bias: float | None
    pull_scatter: float | None
    outliers: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelReport:
    """One label: its unit, the second side's column, and its bins, that of all stars first."""

    name: str
    unit: str
    theirs: str
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A comparison: the titles of both sides, the columns that joined them, and how many rows did."""

    first: str
    second: str
    key: tuple[str, ...]
    rows_first: int
    rows_second: int
    matched: int
    labels: tuple[LabelReport, ...]
