"""Rest-frame spectra seen by any spectrograph: a stretch of wavelengths and a resolving power.

The same absorbers as in spectrum.py, whose blur is DESI's; here each window blurs them by its own. Lines are
fixed profiles times strengths, which at a resolving power of 28,000 is crude: the cores of strong lines are
too shallow by up to a fifth. They shape test spectra, no analysis.

Legend: N stars, P pixels of the rest grid, Q pixels of a detector, L lines, K absorbers, H hydrogen lines.
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.simulate.bands import (
    MOLECULES,
    OPTICAL_LEVELS,
    Molecule,
    haze_profiles,
    haze_strengths,
    hydrogen_lines,
    hydrogen_widths,
    molecule_profiles,
    molecule_strengths,
)
from engine.simulate.hband import BRACKETT, H_LINES, H_MOLECULES
from engine.simulate.labels import LABELS, LabelArray, column
from engine.simulate.lines import ELEMENTS, LineList, atomic_lines, line_list
from engine.simulate.opacity import core_widths, layers_of, weak_widths, wing_strengths
from engine.simulate.spectrum import LIGHT_SPEED, interpolate

SpectrumArray = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

# Resonance doublet of Li I at 6707.8 Å (air), after Smith, Lambert & Nissen 1998 (ApJ 506, 405).
_LITHIUM = {"Li I": "6707.76 0.00 0.00, 6707.91 0.00 -0.30"}
# Lines are as broad as gas that moves at this speed (km/s, sigma), however fine the spectrograph.
_TURBULENCE = 3.0
# Lines this far (Å) outside a window still reach into it, and a star may move by 600 km/s.
_LINE_MARGIN, _HYDROGEN_MARGIN = 40.0, 250.0
# A wing weaker than this optical depth one resolution element away is not worth a profile.
_WING_FLOOR = 0.003
# Light of the highest layers: no absorption line is black.
_CORE_FLOOR: Final = 0.2
# Cores (Å) of the profiles of wings: the blur, or the gas, keeps powers of the distance from growing further.
_WING_CORE, _STARK_CORE = 0.6, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of vacuum wavelengths (Å), the step of its rest grid (Å) and the resolving power."""

    low: float
    high: float
    step: float
    resolving_power: float

    @property
    def wave_P(self) -> FloatArray:
        """Vacuum wavelengths (Å) of the rest grid: the window and 600 km/s to either side."""
        low, high = self.low * (1 - 0.0021), self.high * (1 + 0.0021)
        return low + self.step * np.arange(int((high - low) / self.step) + 2, dtype=np.float64)

    @property
    def infrared(self) -> bool:
        """Whether this is the H band, which has lines of its own."""
        return self.low > 14_000

    @property
    def element(self) -> float:
        """Full width (Å) of a resolution element at the middle."""
        return 0.5 * (self.low + self.high) / self.resolving_power


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorbers:
    """What a window holds: lines, hydrogen lines (levels), which lines have wings [L], profiles [K, P]."""

    lines: LineList
    lithium: LineList
    levels: tuple[tuple[int, int], ...]
    molecules: dict[str, Molecule]
    winged_L: npt.NDArray[np.bool_]
    profile_KP: SpectrumArray


def synthesize_window(window: Window, labels_NL: LabelArray, a_li_N: FloatArray) -> SpectrumArray:
    """Continuum-normalised spectra [N, P] on window.wave_P: labels as in LABELS, and A(Li) (dex, H = 12)."""
    flux_NP = _strengths(window, labels_NL, a_li_N) @ absorbers_of(window).profile_KP
    np.negative(flux_NP, out=flux_NP)
    np.exp(flux_NP, out=flux_NP)
    flux_NP *= 1 - _CORE_FLOOR
    flux_NP += _CORE_FLOOR
    return flux_NP


def observe_window(
    window: Window, flux_NP: SpectrumArray, velocity_N: FloatArray, wave_Q: FloatArray
) -> SpectrumArray:
    """Rest-frame spectra as seen at vacuum wavelengths (Å) [N, Q] and velocities (km/s, |v| <= 600)."""
    first = window.wave_P[0]
    seen = [
        interpolate(row_P, (wave_Q / (1 + velocity / LIGHT_SPEED) - first) / window.step)
        for row_P, velocity in zip(flux_NP, velocity_N, strict=True)
    ]
    return np.stack(seen)


@cache
def absorbers_of(window: Window) -> Absorbers:
    """The absorbers of a window, made once."""
    wave_P = window.wave_P
    lines = _near(line_list(H_LINES) if window.infrared else atomic_lines(), wave_P)
    lithium = _near(line_list(_LITHIUM), wave_P)
    levels = _levels(window)
    molecules = H_MOLECULES if window.infrared else MOLECULES
    winged_L = _wings_worth_it(window, lines)
    hydrogen_H = hydrogen_lines(levels)[0]
    blurred = partial(_gaussians, window)
    parts = [
        blurred(lines.wavelength_L),
        blurred(lithium.wavelength_L),
        _powers(wave_P, lines.wavelength_L[winged_L], core=_WING_CORE, power=2.0),
        blurred(hydrogen_H, extra=0.9),
        _powers(wave_P, hydrogen_H, core=_STARK_CORE, power=2.5),
        molecule_profiles(wave_P, molecules),
        haze_profiles(wave_P),
    ]
    profile_KP = np.concatenate(parts).astype(np.float32)
    return Absorbers(
        lines=lines,
        lithium=lithium,
        levels=levels,
        molecules=molecules,
        winged_L=winged_L,
        profile_KP=profile_KP,
    )


def _strengths(window: Window, labels_NL: LabelArray, a_li_N: FloatArray) -> SpectrumArray:
    """The strength [N, K] of every absorber of the window in each star."""
    known, layer = absorbers_of(window), layers_of(labels_NL)
    lines, winged_L = known.lines, known.winged_L
    weak_NL = weak_widths(layer, labels_NL, lines)
    hydrogen_core, hydrogen_wing = hydrogen_widths(layer, known.levels)
    # weak_widths lets every element follow a label; lithium has none, so its own abundance is put in here.
    excess_N = a_li_N - ELEMENTS["Li"].abundance - column(labels_NL, ELEMENTS["Li"].follows)
    weak_lithium = weak_widths(layer, labels_NL, known.lithium) * 10 ** excess_N[:, None]
    parts = (
        core_widths(layer, weak_NL, lines.wavelength_L),
        core_widths(layer, weak_lithium, known.lithium.wavelength_L),
        wing_strengths(layer, weak_NL[:, winged_L], lines.wavelength_L[winged_L]),
        hydrogen_core,
        hydrogen_wing,
        molecule_strengths(layer, labels_NL, known.molecules),
        haze_strengths(layer, labels_NL),
    )
    return np.concatenate(parts, axis=1).astype(np.float32)


def _levels(window: Window) -> tuple[tuple[int, int], ...]:
    """Lower and upper levels of the hydrogen lines whose wings reach into the window."""
    levels = BRACKETT if window.infrared else OPTICAL_LEVELS
    wavelength_H = hydrogen_lines(levels)[0]
    near_H = _reaches(window.wave_P, wavelength_H, _HYDROGEN_MARGIN)
    return tuple(level for level, near in zip(levels, near_H, strict=True) if near)


def _near(lines: LineList, wave_P: FloatArray) -> LineList:
    """The lines that lie in or near these wavelengths."""
    near_L = _reaches(wave_P, lines.wavelength_L, _LINE_MARGIN)
    return LineList(
        wavelength_L=lines.wavelength_L[near_L],
        excitation_L=lines.excitation_L[near_L],
        loggf_L=lines.loggf_L[near_L],
        element_L=tuple(name for name, near in zip(lines.element_L, near_L, strict=True) if near),
        ionized_L=lines.ionized_L[near_L],
    )


def _reaches(wave_P: FloatArray, center_L: FloatArray, margin: float) -> npt.NDArray[np.bool_]:
    return (center_L > wave_P[0] - margin) & (center_L < wave_P[-1] + margin)


def _gaussians(window: Window, center_L: FloatArray, extra: float = 0.0) -> FloatArray:
    """Unit-area lines [L, P] in 1/Å, blurred by the spectrograph, the gas and a pixel; `extra` sigma in Å."""
    blur_L = center_L * np.hypot(1 / (2.3548 * window.resolving_power), _TURBULENCE / LIGHT_SPEED)
    sigma_L1 = np.sqrt(blur_L**2 + window.step**2 / 12 + extra**2)[:, None]
    offset_LP = (window.wave_P - center_L[:, None]) / sigma_L1
    return np.exp(-0.5 * offset_LP**2) / (np.sqrt(2 * np.pi) * sigma_L1)


def _powers(wave_P: FloatArray, center_L: FloatArray, *, core: float, power: float) -> FloatArray:
    """Wings [L, P]: 1 / (|x|^power + core^power) at distance x (Å) from the line."""
    return 1 / (np.abs(wave_P - center_L[:, None]) ** power + core**power)


def _wings_worth_it(window: Window, lines: LineList) -> npt.NDArray[np.bool_]:
    """Which lines [L] show damping wings in a cool metal-rich dwarf or in a hot one."""
    rich = np.full((2, len(LABELS)), 0.4, dtype=np.float32)
    rich[:, :2] = [[3700, 4.9], [6500, 4.4]]
    layer = layers_of(rich)
    wings = wing_strengths(layer, weak_widths(layer, rich, lines), lines.wavelength_L)
    return wings.max(axis=0) / window.element**2 > _WING_FLOOR
