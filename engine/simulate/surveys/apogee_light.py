"""What APOGEE records of simulated stars: fluxes, errors, masks, with gaps, sky lines and bad pixels.

Legend: N stars, V visits, P pixels of the apStar grid.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.simulate.spectrum import LIGHT_SPEED, planck
from engine.simulate.surveys.stars import Chunk
from engine.simulate.window import Window, observe_window, synthesize_window

FloatArray = npt.NDArray[np.float64]

WINDOW: Final = Window(low=15080.0, high=17020.0, step=0.15, resolving_power=22_500)
WAVE: Final = 10 ** (4.179 + 6e-6 * np.arange(8575, dtype=np.float64))
"""Vacuum wavelengths (Å) of the apStar grid."""
GAP_ERROR: Final = 1e10

# First and last pixel of each chip on the apStar grid; at rest they move with the star's velocity.
_CHIPS: Final = ((206, 3307), (3545, 6114), (6301, 8367))
# Bits of APOGEE_PIXMASK that spoil a pixel, and that only warn of it.
BADPIX, CRPIX, BADDARK, BADFLAT, BADERR, SIG_SKYLINE = 1, 1 << 1, 1 << 4, 1 << 5, 1 << 6, 1 << 12
LITTROW, PERSIST_HIGH, PERSIST_MED, PERSIST_LOW, SIG_TELLURIC = 1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 13
# Brighter OH lines of the night sky (Å, vacuum), rounded.
_SKY_TEXT: Final = """15187 15240 15288 15332 15395 15432 15540 15597 15631 15656 15702 15833 15848
    15869 15890 15972 16030 16079 16128 16194 16235 16302 16317 16341 16360 16388 16414 16442 16475
    16502 16553 16586 16610 16692 16708 16732 16764 16795 16840 16903"""
_SKY_LINES: Final = np.array(_SKY_TEXT.split(), dtype=np.float64)
# Bands of CO2 and CH4 in the air: first and last wavelength (Å).
_TELLURIC: Final = ((15750.0, 15790.0), (16010.0, 16035.0), (16420.0, 16440.0), (16660.0, 16690.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Spectra of one star [R, P] (1e-17 erg/s/cm2/Å) with their 1-sigma errors and masks."""

    flux_RP: FloatArray
    error_RP: FloatArray
    mask_RP: npt.NDArray[np.int16]


def h_magnitude(chunk: Chunk) -> FloatArray:
    """H (mag) from G and a colour that follows the temperature."""
    return chunk.targets.g_mag_N - np.clip(1.0 + 1.6e-3 * (5772 - chunk.label("teff")), 0.5, 4.0)


def true_light(chunk: Chunk, velocity_N: FloatArray, wave_Q: FloatArray) -> FloatArray:
    """Noise-free fluxes [N, Q] (1e-17 erg/s/cm2/Å) at these wavelengths and velocities (km/s)."""
    rest_NP = synthesize_window(WINDOW, chunk.targets.labels_NL, chunk.a_li_N)
    seen_NQ = observe_window(WINDOW, rest_NP, velocity_N, wave_Q)
    teff = chunk.label("teff")
    colour_NQ = planck(teff, wave_Q) / planck(teff, np.array([16_300.0]))
    # 1.13e-10 erg/s/cm2/Å is a star of H = 0 (Cohen et al. 2003, AJ 126, 1090).
    return seen_NQ * colour_NQ * (1.13e7 * 10 ** (-0.4 * h_magnitude(chunk)))[:, None]


def record(rng: np.random.Generator, light_P: FloatArray, snr: float, velocities_V: FloatArray) -> Rows:
    """The visits of one star, shifted to rest: `light_P` without noise, `snr` that of all visits together."""
    visits = [_visit(rng, light_P, snr / np.sqrt(len(velocities_V)), v) for v in velocities_V]
    return Rows(
        flux_RP=np.stack([visit.flux_RP[0] for visit in visits]),
        error_RP=np.stack([visit.error_RP[0] for visit in visits]),
        mask_RP=np.stack([visit.mask_RP[0] for visit in visits]),
    )


def combine(visits: Rows) -> Rows:
    """One row: the mean weighted by inverse variance, and every bit that a visit has; gaps stay gaps."""
    weight_VP = visits.error_RP**-2.0
    total_P = weight_VP.sum(axis=0)
    error_P = total_P**-0.5
    flux_P = (visits.flux_RP * weight_VP).sum(axis=0) / total_P
    gap_P = (visits.error_RP >= GAP_ERROR).all(axis=0)
    return Rows(
        flux_RP=np.where(gap_P, 0.0, flux_P)[None],
        error_RP=np.where(gap_P, GAP_ERROR, error_P)[None],
        mask_RP=np.bitwise_or.reduce(visits.mask_RP, axis=0)[None],
    )


def sky_bits(wave_Q: FloatArray) -> npt.NDArray[np.int16]:
    """SIG_SKYLINE and SIG_TELLURIC [Q] at wavelengths as observed (Å)."""
    near_Q = np.abs(wave_Q[:, None] - _SKY_LINES).min(axis=1) < 0.7
    bits_Q = np.where(near_Q, SIG_SKYLINE, 0)
    for low, high in _TELLURIC:
        bits_Q |= np.where((wave_Q > low) & (wave_Q < high), SIG_TELLURIC, 0)
    return bits_Q.astype(np.int16)


def damage(rng: np.random.Generator, flux_P: FloatArray, error_P: FloatArray) -> npt.NDArray[np.int16]:
    """Spoil a few pixels of a spectrum in place; the mask [P] of what the pipeline noticed."""
    mask_P = np.zeros(len(flux_P), np.int16)
    for bit, share in ((BADPIX, 0.004), (CRPIX, 0.001), (BADDARK, 0.002), (BADFLAT, 0.003)):
        hit_P = rng.random(len(flux_P)) < share
        mask_P[hit_P] |= bit
        flux_P[hit_P] *= rng.uniform(0.2, 3.0, size=int(hit_P.sum()))
        error_P[hit_P] *= 20
    # Persistence spoils long stretches of some detectors, but lightly.
    start = int(rng.integers(len(flux_P)))
    mask_P[start : start + int(rng.integers(1200))] |= rng.choice([PERSIST_HIGH, PERSIST_MED, PERSIST_LOW])
    ghost = int(rng.integers(len(flux_P) - 60))
    mask_P[ghost : ghost + 60] |= LITTROW
    return mask_P


def _visit(rng: np.random.Generator, light_P: FloatArray, snr: float, velocity: float) -> Rows:
    """One visit at rest [1, P]: bits of the sky lie where the star's velocity puts them."""
    sky_P = sky_bits(WAVE * (1 + velocity / LIGHT_SPEED))
    typical = np.median(light_P)
    error_P = np.sqrt(np.maximum(light_P, 0.05 * typical) * typical) / snr
    error_P[(sky_P & SIG_SKYLINE) > 0] *= 12
    flux_P = light_P + error_P * rng.standard_normal(len(light_P))
    mask_P = damage(rng, flux_P, error_P) | sky_P
    shift = round(-velocity / LIGHT_SPEED / (6e-6 * np.log(10)))
    inside_P = np.zeros(len(WAVE), dtype=bool)
    for first, last in _CHIPS:
        inside_P[max(first + shift, 0) : last + shift] = True
    flux_P[~inside_P], error_P[~inside_P], mask_P[~inside_P] = 0.0, GAP_ERROR, BADPIX
    return Rows(flux_RP=flux_P[None], error_RP=error_P[None], mask_RP=mask_P[None])
