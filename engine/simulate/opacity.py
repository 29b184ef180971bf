"""How strong each absorber is in a star of given labels: one layer in LTE, with a curve of growth.

Saha and Boltzmann give the population of a line's lower level, H- gives the continuum it competes with
(Gray 2005, eq. 8.12); the core saturates as a logarithm and damping wings grow with the pressure. Electron
pressure and layer temperature are fits by eye, anchored at solar lines (Fe I 6151.62, Ca II K, Mg b).

Legend: N stars, L lines, K absorbers.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.simulate.labels import LabelArray, column
from engine.simulate.lines import ELEMENTS, LineList

FloatArray = npt.NDArray[np.float64]

# log of W/lambda per unit of abundance, gf and population; sets W(Fe I 6151.62) of the Sun to 0.05 Å.
_LOG_WIDTH_SCALE = -6.89
# Doppler width over wavelength of a line whose core saturates in the Sun (microturbulence 1 km/s).
_DOPPLER = 4.8e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The line-forming layer of each star."""

    teff_N: FloatArray
    logg_N: FloatArray
    electron_N: FloatArray
    pressure_N: FloatArray
    doppler_N: FloatArray


def layers_of(labels_NL: LabelArray) -> Layer:
    """The layer of each star: log electron pressure (dyn/cm2), log pressure over the Sun's, Doppler width."""
    teff, logg, fe_h = (column(labels_NL, name) for name in ("teff", "logg", "fe_h"))
    return Layer(
        teff_N=teff,
        logg_N=logg,
        electron_N=0.7 + 0.4 * (logg - 4.44) + 0.25 * fe_h + 4.5e-4 * (teff - 5772),
        pressure_N=0.6 * (logg - 4.44),
        doppler_N=_DOPPLER * (1.0 + 0.12 * np.clip(4.44 - logg, -1, 4)),
    )


def theta_of(layer: Layer, excitation: FloatArray) -> FloatArray:
    """5040 K / T of the layer where lines of this excitation (eV) form [N, L]: deeper when it is high."""
    return 5040.0 / (layer.teff_N[:, None] * (0.85 + 0.012 * np.minimum(excitation, 11.0)))


def continuum_of(layer: Layer, theta_NL: FloatArray) -> FloatArray:
    """log opacity of H- per hydrogen atom, without its constants [N, L]."""
    return layer.electron_N[:, None] + 2.5 * np.log10(theta_NL) + 0.754 * theta_NL


def weak_widths(layer: Layer, labels_NL: LabelArray, lines: LineList) -> FloatArray:
    """Equivalent widths (Å) [N, L] that the lines would have if they never saturated."""
    theta_NL = theta_of(layer, lines.excitation_L)
    symbols = sorted(set(lines.element_L))
    log_NL = np.empty_like(theta_NL)
    for symbol in symbols:
        element = ELEMENTS[symbol]
        chosen = np.array([name == symbol for name in lines.element_L])
        abundance_N = element.abundance + column(labels_NL, element.follows)
        theta = theta_NL[:, chosen]
        log_ratio = (
            -element.ionization * theta
            + 2.5 * np.log10(5040.0 / theta)
            - 0.48
            + np.log10(2.0)
            + element.ion
            - element.neutral
            - layer.electron_N[:, None]
        )
        log_neutral, log_ion = -np.log10(1 + 10**log_ratio), -np.log10(1 + 10**-log_ratio)
        ionized = lines.ionized_L[chosen]
        population = np.where(ionized, log_ion - element.ion, log_neutral - element.neutral)
        log_NL[:, chosen] = abundance_N[:, None] + population
    log_NL += lines.loggf_L - theta_NL * lines.excitation_L - continuum_of(layer, theta_NL)
    return 10 ** (log_NL + 2 * np.log10(lines.wavelength_L) + _LOG_WIDTH_SCALE)


def core_widths(layer: Layer, weak_NL: FloatArray, wavelength_L: FloatArray) -> FloatArray:
    """Equivalent widths (Å) [N, L] of the line cores: linear when weak, logarithmic when saturated."""
    doppler_NL = layer.doppler_N[:, None] * wavelength_L
    return doppler_NL * np.log1p(weak_NL / doppler_NL)


def wing_strengths(layer: Layer, weak_NL: FloatArray, wavelength_L: FloatArray) -> FloatArray:
    """Damping constants (Å2) [N, L]: far from a line the optical depth is this over distance squared."""
    rate = 1e8 + 1.6e9 * 10**layer.pressure_N
    half_width_NL = rate[:, None] * wavelength_L**2 * 2.65e-20
    return weak_NL * half_width_NL / np.pi
