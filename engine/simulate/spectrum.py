"""Rest-frame spectra at the resolution of DESI from labels: continuum times exp(-optical depth).

Every absorber is one fixed profile, already blurred by the spectrograph, times a strength that depends on the
labels; so a batch of spectra is one matrix product. That is exact for unresolved lines and good enough for
the wings, which are wider than the blur.

Legend: N stars, P pixels of the rest grid, Q pixels of an observed grid, L lines, K absorbers, B passbands.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.simulate.bands import (
    haze_profiles,
    haze_strengths,
    hydrogen_lines,
    hydrogen_widths,
    molecule_profiles,
    molecule_strengths,
)
from engine.simulate.labels import LABELS, LabelArray
from engine.simulate.lines import atomic_lines
from engine.simulate.opacity import Layer, core_widths, layers_of, weak_widths, wing_strengths
from engine.simulate.resolution import lsf_sigma

SpectrumArray = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

LIGHT_SPEED = 299792.458
"""km/s."""

REST_STEP = 0.4
REST_WAVELENGTH: Final[FloatArray] = (3584.0 + REST_STEP * np.arange(15680)).astype(np.float64)
"""Vacuum wavelengths (Å) [P] of the rest grid: the range of DESI and 600 km/s to either side."""

# A wing weaker than this optical depth at 1.2 Å in the strongest-lined star is not worth a profile.
_WING_FLOOR = 0.004
# Core of a wing's profile (Å): the blur keeps 1/x2 from growing any further.
_WING_CORE = 0.65
_STARK_CORE = 2.2
# Light of the highest layers: no absorption line is black.
_CORE_FLOOR = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorbers:
    """Profiles [K, P] (optical depth at unit strength) and which atomic lines have wings [L]."""

    profile_KP: SpectrumArray
    winged_L: npt.NDArray[np.bool_]


@cache
def absorbers() -> Absorbers:
    """All absorbers, made once: atomic cores, atomic wings, hydrogen cores and wings, molecules, haze."""
    lines = atomic_lines()
    winged_L = _wings_worth_it()
    hydrogen_H, _, _ = hydrogen_lines()
    parts = [
        _gaussians(lines.wavelength_L),
        _powers(lines.wavelength_L[winged_L], core=_WING_CORE, power=2.0),
        _gaussians(hydrogen_H, extra=0.9),
        _powers(hydrogen_H, core=_STARK_CORE, power=2.5),
        molecule_profiles(REST_WAVELENGTH),
        haze_profiles(REST_WAVELENGTH),
    ]
    return Absorbers(profile_KP=np.concatenate(parts).astype(np.float32), winged_L=winged_L)


def synthesize(labels_NL: LabelArray) -> SpectrumArray:
    """Spectra [N, P] on REST_WAVELENGTH, flux per Å in arbitrary units near 1: labels as in LABELS."""
    flux_NP = strengths_of(labels_NL) @ absorbers().profile_KP
    np.negative(flux_NP, out=flux_NP)
    np.exp(flux_NP, out=flux_NP)
    flux_NP *= 1 - _CORE_FLOOR
    flux_NP += _CORE_FLOOR
    flux_NP *= planck(labels_NL[:, LABELS.index("teff")], REST_WAVELENGTH)
    return flux_NP


def strengths_of(labels_NL: LabelArray) -> SpectrumArray:
    """The strength [N, K] of every absorber of `absorbers()` in each star."""
    lines, winged_L, layer = atomic_lines(), absorbers().winged_L, layers_of(labels_NL)
    weak_NL = weak_widths(layer, labels_NL, lines)
    hydrogen_core, hydrogen_wing = hydrogen_widths(layer)
    parts = (
        core_widths(layer, weak_NL, lines.wavelength_L),
        wing_strengths(layer, weak_NL[:, winged_L], lines.wavelength_L[winged_L]),
        hydrogen_core,
        hydrogen_wing,
        molecule_strengths(layer, labels_NL),
        haze_strengths(layer, labels_NL),
    )
    return np.concatenate(parts, axis=1).astype(np.float32)


def planck(teff_N: npt.ArrayLike, wavelength_P: FloatArray) -> SpectrumArray:
    """Planck's law [N, P] per Å over its value at 6200 Å."""
    ratio_N1 = 1.43877688e8 / np.asarray(teff_N, dtype=np.float64)[:, None]
    exponent_NP = (ratio_N1 / wavelength_P).astype(np.float32)
    shape_NP = ((6200.0 / wavelength_P) ** 5 * np.expm1(ratio_N1 / 6200.0)).astype(np.float32)
    shape_NP /= np.expm1(exponent_NP)
    return shape_NP


def redden(flux_NP: SpectrumArray, ebv_N: FloatArray, wavelength_P: FloatArray) -> SpectrumArray:
    """The spectra behind dust of E(B-V) (mag)."""
    curve_P = extinction_curve(wavelength_P).astype(np.float32)
    dimming_N1 = (-0.4 * np.log(10.0) * ebv_N[:, None]).astype(np.float32)
    return flux_NP * np.exp(dimming_N1 * curve_P)


def extinction_curve(wavelength_P: FloatArray) -> FloatArray:
    """A(lambda) / E(B-V) [P] for R_V = 3.1, Cardelli, Clayton & Mathis 1989 (ApJ 345, 245) eqs. 2-3."""
    inverse_P = 1e4 / wavelength_P
    y = inverse_P - 1.82
    a = np.polyval([0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1.0], y)
    b = np.polyval([-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0.0], y)
    infrared_P = inverse_P < 1.1
    a = np.where(infrared_P, 0.574 * inverse_P**1.61, a)
    b = np.where(infrared_P, -0.527 * inverse_P**1.61, b)
    return 3.1 * a + b


def shift_to(flux_NP: SpectrumArray, velocity_N: FloatArray, wavelength_Q: FloatArray) -> SpectrumArray:
    """Rest-frame spectra as seen on an observed grid [N, Q] at radial velocities (km/s, |v| <= 600).

    Four-point Lagrange interpolation on the evenly spaced rest grid.
    """
    shifted_NQ = np.empty((len(flux_NP), len(wavelength_Q)), dtype=np.float32)
    for row, velocity in enumerate(velocity_N):
        place_Q = (wavelength_Q / (1 + velocity / LIGHT_SPEED) - REST_WAVELENGTH[0]) / REST_STEP
        shifted_NQ[row] = interpolate(flux_NP[row], place_Q)
    return shifted_NQ


def interpolate(flux_P: SpectrumArray, place_Q: FloatArray) -> SpectrumArray:
    """A spectrum at places [Q] between its pixels: four-point Lagrange interpolation."""
    left_Q = place_Q.astype(np.int64)
    t = (place_Q - left_Q).astype(np.float32)
    before, here, after, beyond = (flux_P.take(left_Q + step) for step in (-1, 0, 1, 2))
    inner = here * (1 - t) * (t + 1) * (2 - t) / 2 + after * t * (t + 1) * (2 - t) / 2
    return np.asarray(inner - t * (1 - t) * (before * (2 - t) + beyond * (t + 1)) / 6, dtype=np.float32)


def _gaussians(center_L: FloatArray, extra: float = 0.0) -> FloatArray:
    """Unit-area lines [L, P] blurred by the spectrograph and by the pixel, in 1/Å; `extra` sigma in Å."""
    sigma_L1 = np.sqrt(lsf_sigma(center_L) ** 2 + 0.8**2 / 12 + extra**2)[:, None]
    offset_LP = (REST_WAVELENGTH - center_L[:, None]) / sigma_L1
    return np.exp(-0.5 * offset_LP**2) / (np.sqrt(2 * np.pi) * sigma_L1)


def _powers(center_L: FloatArray, *, core: float, power: float) -> FloatArray:
    """Wings [L, P]: 1 / (|x|^power + core^power) at distance x (Å) from the line."""
    return 1 / (np.abs(REST_WAVELENGTH - center_L[:, None]) ** power + core**power)


def _wings_worth_it() -> npt.NDArray[np.bool_]:
    """Which atomic lines [L] show damping wings in a cool metal-rich dwarf or in a hot one."""
    rich = np.full((2, len(LABELS)), 0.4, dtype=np.float32)
    rich[:, :2] = [[3700, 4.9], [6500, 4.4]]
    layer: Layer = layers_of(rich)
    lines = atomic_lines()
    wings = wing_strengths(layer, weak_widths(layer, rich, lines), lines.wavelength_L)
    return wings.max(axis=0) / 1.2**2 > _WING_FLOOR
