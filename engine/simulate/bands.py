"""Molecular bands, line haze, hydrogen: the absorbers that are not single metal lines.

Band heads (Å, vacuum within 1 Å) after Pearse & Gaydon 1976 and, for TiO and CaH, Kirkpatrick et al. 1991
(ApJS 77, 417); strengths and temperature responses are fits by eye to FGKM standards.

Legend: N stars, P pixels, B bands, H hydrogen lines.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.simulate.labels import LabelArray, column
from engine.simulate.opacity import Layer, continuum_of, theta_of

FloatArray = npt.NDArray[np.float64]
Levels: TypeAlias = tuple[tuple[int, int], ...]

OPTICAL_LEVELS: Final[Levels] = tuple(
    [(2, upper) for upper in range(3, 17)] + [(3, upper) for upper in range(8, 18)]
)
"""Lower and upper level of the Balmer and Paschen lines in DESI's range."""

_RYDBERG = 1.0967758e-3
# Width scale of hydrogen lines and of their Stark wings, set by H-alpha and H-beta of the Sun and of Procyon.
_LOG_HYDROGEN, _STARK = -7.40, 0.135
_HYDROGEN_DOPPLER = 5e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Molecule:
    """The response of one absorber: log strength of the Sun, its slopes on abundances, on 5040 K / Teff and
    on log g; `fades` is where on that temperature scale CO or dissociation takes it away again."""

    solar: float
    abundances: dict[str, float]
    temperature: float
    gravity: float
    fades: float
    bands: tuple[tuple[float, float, float], ...]


# Each band: head (Å), signed reach (Å; negative degrades to the blue), weight.
MOLECULES = {
    "CH": Molecule(
        solar=-0.15,
        abundances={"c_h": 1.0, "fe_h": -0.15},
        temperature=5.0,
        gravity=0.03,
        fades=1.13,
        bands=((4314.5, -32.0, 0.55), (4292.0, -24.0, 0.35), (3890.5, -22.0, 0.30)),
    ),
    "CN": Molecule(
        solar=-0.50,
        abundances={"c_h": 0.9, "fe_h": 0.9},
        temperature=5.5,
        gravity=-0.18,
        fades=1.16,
        bands=(
            (3884.5, -55.0, 0.55),
            (4217.0, -60.0, 0.22),
            (7874.0, 110.0, 0.05),
            (8067.0, 120.0, 0.05),
            (9150.0, 160.0, 0.04),
            (9393.0, 170.0, 0.035),
        ),
    ),
    "C2": Molecule(
        solar=-1.20,
        abundances={"c_h": 2.0, "mg_h": -0.4},
        temperature=3.0,
        gravity=0.0,
        fades=1.15,
        bands=((5166.5, -70.0, 0.35), (4738.5, -60.0, 0.25), (5637.0, -70.0, 0.18)),
    ),
    "MgH": Molecule(
        solar=-1.05,
        abundances={"mg_h": 0.9},
        temperature=5.5,
        gravity=0.32,
        fades=1.45,
        bands=((5212.0, -110.0, 0.50), (5622.0, -90.0, 0.12), (4845.0, -60.0, 0.15)),
    ),
    "TiO": Molecule(
        solar=-4.7,
        abundances={"ti_h": 0.9, "mg_h": 0.4},
        temperature=11.0,
        gravity=-0.10,
        fades=1.50,
        bands=(
            (4585.0, 50.0, 0.18),
            (4763.0, 70.0, 0.40),
            (4956.0, 80.0, 0.55),
            (5169.0, 90.0, 0.50),
            (5450.0, 90.0, 0.42),
            (5849.0, 110.0, 0.42),
            (6160.0, 130.0, 0.55),
            (6653.0, 110.0, 0.42),
            (7055.0, 140.0, 0.60),
            (7126.0, 100.0, 0.25),
            (7592.0, 130.0, 0.20),
            (8434.0, 130.0, 0.14),
            (8862.0, 110.0, 0.10),
        ),
    ),
    "CaH": Molecule(
        solar=-3.2,
        abundances={"ca_h": 0.9},
        temperature=8.0,
        gravity=0.45,
        fades=1.50,
        bands=((6384.0, 40.0, 0.35), (6832.0, -40.0, 0.25), (6752.0, 110.0, 0.60)),
    ),
}


def molecule_strengths(
    layer: Layer, labels_NL: LabelArray, molecules: Mapping[str, Molecule] = MOLECULES
) -> FloatArray:
    """Saturating strengths [N, B] of the molecules in their order; 0.7 where log strength is 0."""
    cool_N = 5040.0 / layer.teff_N - 5040.0 / 5772
    log_NB = np.empty((len(labels_NL), len(molecules)))
    for index, molecule in enumerate(molecules.values()):
        log_N = molecule.solar + molecule.temperature * cool_N + molecule.gravity * (layer.logg_N - 4.44)
        log_N -= 1.6 * molecule.temperature * np.maximum(5040.0 / layer.teff_N - molecule.fades, 0)
        log_NB[:, index] = log_N + sum(
            slope * column(labels_NL, name) for name, slope in molecule.abundances.items()
        )
    return np.log1p(10**log_NB)


def molecule_profiles(wavelength_P: FloatArray, molecules: Mapping[str, Molecule] = MOLECULES) -> FloatArray:
    """Optical depth [B, P] of each molecule at unit strength: sharp heads, tails, rotational ripples."""
    profiles = []
    for molecule in molecules.values():
        total_P = np.zeros_like(wavelength_P)
        for head, reach, weight in molecule.bands:
            distance_P = (wavelength_P - head) * np.sign(reach)
            edge_P = 1 / (1 + np.exp(np.clip(-distance_P / 0.9, -50, 50)))
            tail_P = np.exp(-np.maximum(distance_P, 0) / abs(reach))
            # Rotational lines spread out from the head as the square root of the distance.
            ripple_P = 1 + 0.12 * np.sin(4.2 * np.sqrt(np.maximum(distance_P, 0)) * (1 + reach / 5000))
            total_P += weight * edge_P * tail_P * ripple_P
        profiles.append(total_P)
    return np.stack(profiles)


def haze_strengths(layer: Layer, labels_NL: LabelArray) -> FloatArray:
    """Strengths [N, 2] of the unlisted metal lines in the blue and of the Balmer continuum."""
    fe_h = column(labels_NL, "fe_h")
    cool_N = 5040.0 / layer.teff_N - 5040.0 / 5772
    metals_N = 10 ** np.minimum(0.45 * fe_h + 1.6 * cool_N, 0.8)
    jump_N = 0.13 * 10 ** (-6.0 * cool_N - 0.10 * (layer.logg_N - 4.44))
    return np.stack([0.16 * metals_N, jump_N], axis=1)


def haze_profiles(wavelength_P: FloatArray) -> FloatArray:
    """Optical depth [2, P] of the line haze (with the texture of a forest) and of the Balmer continuum."""
    forest_P = 1 + 0.35 * np.sin(wavelength_P / 2.9) * np.sin(wavelength_P / 7.7 + 1) * np.sin(
        wavelength_P / 23.0
    )
    haze_P = (4000.0 / wavelength_P) ** 6 * forest_P
    jump_P = 1 / (1 + np.exp(np.clip((wavelength_P - 3690.0) / 8.0, -50, 50)))
    return np.stack([haze_P, jump_P])


def hydrogen_lines(levels: Levels = OPTICAL_LEVELS) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Vacuum wavelength (Å), lower level and upper level [H] of hydrogen lines."""
    lower_H, upper_H = np.array(levels, dtype=np.float64).reshape(-1, 2).T
    return 1 / (_RYDBERG * (lower_H**-2 - upper_H**-2)), lower_H, upper_H


def hydrogen_widths(layer: Layer, levels: Levels = OPTICAL_LEVELS) -> tuple[FloatArray, FloatArray]:
    """Core widths (Å) and Stark wing strengths (Å^2.5) [N, H]; oscillator strengths after Kramers.

    The population of the lower level over H- falls as 1 / Pe, the Stark wings grow as Pe: the wings are a
    thermometer that does not feel gravity (Gray 2005, ch. 13). The square root stands for the depth of an
    atmosphere: as the wings grow they form higher, where it is cooler, and one layer would overstate that.
    """
    wavelength_H, lower_H, upper_H = hydrogen_lines(levels)
    loggf_H = np.log10(3.1 / (lower_H**3 * upper_H**3) * (lower_H**-2 - upper_H**-2) ** -3)
    excitation_H = 13.598 * (1 - lower_H**-2)
    theta_NH = theta_of(layer, excitation_H)
    log_NH = 12 + loggf_H - 0.3 - theta_NH * excitation_H - continuum_of(layer, theta_NH)
    weak_NH = 10 ** (log_NH + 2 * np.log10(wavelength_H) + _LOG_HYDROGEN)
    doppler_H = _HYDROGEN_DOPPLER * wavelength_H
    # Lines that end on high levels are wide, until the levels themselves dissolve.
    reach_H = np.minimum(upper_H / 3, 2.3) ** 1.8
    pressed_NH = weak_NH * 10 ** (layer.electron_N[:, None] - 0.7)
    return doppler_H * np.log1p(weak_NH / doppler_H), _STARK * np.sqrt(pressed_NH) * reach_H
