"""What a table of the Gaia archive offers, in whatever serialisation it comes."""

from collections.abc import Collection, Mapping
from typing import Literal, Protocol, TypeAlias

import numpy as np

Kind: TypeAlias = Literal["id", "number"] | int
"""What a column holds: int64 ids, numbers, or arrays of that many numbers."""

Values: TypeAlias = dict[str, np.ndarray]
"""Column -> int64 (N,), float64 (N,) or float64 (N, pixels); NaN where there is no value."""


class Table(Protocol):
    """An open table. Column names are in lower case."""

    @property
    def names(self) -> Collection[str]:
        """Its columns."""
        ...

    @property
    def units(self) -> Mapping[str, str]:
        """Units of columns, where the file says them."""
        ...

    def holds_arrays(self, column: str) -> bool:
        """Whether a column holds arrays."""
        ...

    def rows(self) -> int:
        """How many rows there are."""
        ...

    def read(self, wanted: Mapping[str, Kind], start: int, stop: int) -> Values:
        """Rows [start, stop) of some of its columns; ShardCorrupt when they are not that."""
        ...
