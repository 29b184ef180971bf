"""What surveys give and networks want: columns, wavelengths, cameras."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa

from engine.types.arrays import Doubles


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table: its Arrow type, unit (VOUnit, "" = none), UCD1+ and meaning."""

    name: str
    type: pa.DataType
    unit: str = ""
    ucd: str = ""
    description: str


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
