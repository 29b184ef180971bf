"""Counts of a cross-match: how many spectra are left after each step, and of how many stars."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from engine.types import Bools, Doubles

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is left after a step of this name; of what was read, the stars are not known (None)."""

    name: str
    spectra: int
    stars: int | None


@dataclass(slots=True, kw_only=True)
class Tally:
    """Of spectra with a label: their star and how many steps they passed. Of those left: rank and part."""

    spectra: int = 0
    unreadable_tasks: int = 0
    unavailable_tasks: int = 0
    ambiguous: int = 0
    star: list[Hashes] = field(default_factory=list)
    passed: list[np.ndarray] = field(default_factory=list)
    rank: list[Doubles] = field(default_factory=list)
    part: list[np.ndarray] = field(default_factory=list)

    def add(self, stars: Sequence[str], passed_N: np.ndarray) -> None:
        """Spectra of a task that have labels."""
        self.star.append(star_hashes(stars))
        self.passed.append(passed_N.astype(np.int16))

    def steps(self, names: Sequence[str]) -> list[Step]:
        """What is left after each step, from what was read on."""
        star_N, passed_N = _joined(self.star, np.uint64), _joined(self.passed, np.int16)
        order = np.argsort(star_N, kind="stable")
        firsts = np.flatnonzero(np.diff(star_N[order], prepend=star_N[order][:1] + np.uint64(1)))
        furthest_S = np.maximum.reduceat(passed_N[order], firsts) if len(firsts) else passed_N
        read = Step(name="spectra", spectra=self.spectra, stars=None)
        return [read] + [
            Step(name=name, spectra=int((passed_N >= i).sum()), stars=int((furthest_S >= i).sum()))
            for i, name in enumerate(names, start=1)
        ]

    def left(self, steps: int) -> Hashes:
        """The stars of the spectra that passed all steps, in the order they came."""
        return _joined(self.star, np.uint64)[_joined(self.passed, np.int16) == steps]

    def best(self, steps: int) -> Bools:
        """Of the spectra that are left, the first of the best of each star."""
        star_N, rank_N = self.left(steps), _joined(self.rank, np.float64)
        order = np.lexsort((np.arange(len(star_N)), -rank_N, star_N))
        keep_N = np.zeros(len(star_N), bool)
        keep_N[order[np.unique(star_N[order], return_index=True)[1]]] = True
        return keep_N

    def parts(self) -> np.ndarray:
        """The parts of the spectra that are left."""
        return _joined(self.part, np.int64)


def star_hashes(stars: Sequence[str]) -> Hashes:
    """A number for each star: of a hundred million, two share one with a chance of 3e-4."""
    digests = (hashlib.blake2b(star.encode(), digest_size=8).digest() for star in stars)
    return np.array([int.from_bytes(digest, "big") for digest in digests], np.uint64)


def _joined(pieces: list[np.ndarray], kind: type) -> np.ndarray:
    return np.concatenate([np.empty(0, kind), *pieces])
