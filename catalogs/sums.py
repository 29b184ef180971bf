"""Rows by outcome and by flag bit: what a receipt claims, what a table holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa

from engine.flags import BY_NAME
from engine.types import Receipt

NO_RESULT = BY_NAME["NO_RESULT"].value
COUNTED = ("flags", "flag_warn", "flag_bad")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Rows in all; ok, flagged and no_result, which are disjoint; and rows per bit of `flags`.

    `flag_counts` has the bit's number as text, and leaves bits without rows out.
    """

    rows: int = 0
    ok: int = 0
    flagged: int = 0
    no_result: int = 0
    flag_counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: pa.Table) -> "Sums":
        """The sums of some rows; only the columns COUNTED are looked at."""
        flags_N = rows["flags"].to_numpy()
        none_N = (flags_N & NO_RESULT) != 0
        flag_N = rows["flag_warn"].to_numpy() | rows["flag_bad"].to_numpy()
        flagged, no_result = int(np.sum(flag_N & ~none_N)), int(np.sum(none_N))
        counts = {str(bit): int(np.sum((flags_N >> bit) & 1)) for bit in range(32)}
        return cls(
            rows=len(rows),
            ok=len(rows) - flagged - no_result,
            flagged=flagged,
            no_result=no_result,
            flag_counts={bit: count for bit, count in counts.items() if count},
        )

    @classmethod
    def claimed(cls, receipt: Receipt) -> "Sums":
        """What a receipt says."""
        return cls(
            rows=receipt.rows,
            ok=receipt.ok,
            flagged=receipt.flagged,
            no_result=receipt.no_result,
            flag_counts=dict(receipt.flag_counts),
        )

    def __add__(self, other: "Sums") -> "Sums":
        bits = sorted({*self.flag_counts, *other.flag_counts}, key=int)
        counts = {bit: self.flag_counts.get(bit, 0) + other.flag_counts.get(bit, 0) for bit in bits}
        return Sums(
            rows=self.rows + other.rows,
            ok=self.ok + other.ok,
            flagged=self.flagged + other.flagged,
            no_result=self.no_result + other.no_result,
            flag_counts=counts,
        )

    @property
    def outcomes(self) -> dict[str, int]:
        """The rows as the manifest has them."""
        kinds = {"ok": self.ok, "flagged": self.flagged, "no_result": self.no_result}
        return {"total": self.rows, **kinds}


def total(sums: Iterable[Sums]) -> Sums:
    """All of them together."""
    return reduce(add, sums, Sums())
