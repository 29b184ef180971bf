"""What BP and RP see of simulated stars: sampled fluxes, and coefficients in Gaia's own basis.

The basis functions at the 343 wavelengths of the archive's sampled spectra are GaiaXPy's design matrices; the
coefficients are those, within the noise, that GaiaXPy turns back into the star's spectrum.

Legend: N stars, P wavelengths, C coefficients.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from engine.simulate.spectrum import extinction_curve, planck
from engine.simulate.surveys.stars import Chunk
from engine.simulate.window import Window, observe_window, synthesize_window

FloatArray = npt.NDArray[np.float64]

WAVE_NM: Final = 336.0 + 2.0 * np.arange(343, dtype=np.float64)
COEFFICIENTS: Final = 55
BANDS: Final = ("bp", "rp")

_WINDOW: Final = Window(low=3340.0, high=10250.0, step=10.0, resolving_power=60)
# Mean flux density at 6200 Å (W m-2 nm-1) of a star of G = 0.
_ZERO_POINT = 2.56e-11
# Coefficients of a star of G = 15 have errors of about this (photo-electrons per second); a floor that grows
# with the flux stands for what calibration leaves.
_ERROR_AT_15, _CALIBRATION = 1.2, 4e-4
# Neighbouring coefficients are correlated like this; the sign alternates as in real covariances.
_CORRELATION: Final = -0.35
# Coefficients fade with their order by this scale, as those of real stars do, and least squares are held to
# that with this weight: then fluxes come back to a per cent and the last coefficients hold noise alone.
_FADING, _RIDGE = 12.0, 3e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What one photometer gives for N stars: coefficients and their errors [N, C]."""

    coefficient_NC: FloatArray
    error_NC: FloatArray


def sampled_light(chunk: Chunk) -> FloatArray:
    """True fluxes [N, P] (W m-2 nm-1) at WAVE_NM: continuum, lines at R = 60, dust, magnitude."""
    targets = chunk.targets
    shape_NP = synthesize_window(_WINDOW, targets.labels_NL, chunk.a_li_N)
    light_NP = observe_window(_WINDOW, shape_NP, np.zeros(len(chunk)), 10 * WAVE_NM).astype(np.float64)
    light_NP *= planck(chunk.label("teff"), 10 * WAVE_NM)
    light_NP *= 10 ** (-0.4 * targets.ebv_N[:, None] * extinction_curve(10 * WAVE_NM))
    middle_N = np.median(light_NP[:, (WAVE_NM > 590) & (WAVE_NM < 650)], axis=1)
    return light_NP * (_ZERO_POINT * 10 ** (-0.4 * targets.g_mag_N) / middle_N)[:, None]


def sampled_noise(chunk: Chunk, light_NP: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fluxes with correlated noise, and their errors [N, P]."""
    blue_P = 1 + 6 * np.exp(-(WAVE_NM - 336) / 25) + 1.5 * np.exp((WAVE_NM - 1020) / 20)
    snr_N1 = chunk.snr(best=300.0, slope=0.25)[:, None]
    error_NP = blue_P * np.sqrt(light_NP * light_NP.mean(axis=1, keepdims=True)) / snr_N1
    white_NP = chunk.rng.standard_normal(light_NP.shape)
    smooth_NP = white_NP + 0.6 * (np.roll(white_NP, 1, axis=1) + np.roll(white_NP, -1, axis=1))
    return light_NP + error_NP * smooth_NP / np.sqrt(1 + 2 * 0.36), error_NP


def coefficients(chunk: Chunk, light_NP: FloatArray) -> dict[str, Band]:
    """Coefficients of both bands, with noise of their errors and correlations."""
    rng, bands = chunk.rng, {}
    noise_CC = np.linalg.cholesky(correlation_matrix())
    level_N = _ERROR_AT_15 * 10 ** (0.4 * (15 - chunk.targets.g_mag_N) * 0.5)
    for band in BANDS:
        true_NC = light_NP @ _inverse(band)
        fading_C = np.where(np.arange(COEFFICIENTS) < 48, 1.0, 0.4)
        error_NC = np.hypot(level_N, _CALIBRATION * true_NC[:, 0])[:, None] * fading_C
        error_NC = error_NC * np.exp(0.15 * rng.standard_normal(error_NC.shape))
        noise_NC = rng.standard_normal(true_NC.shape) @ noise_CC.T
        bands[band] = Band(coefficient_NC=true_NC + error_NC * noise_NC, error_NC=error_NC)
    return bands


def correlation_matrix() -> FloatArray:
    """Correlations [C, C] of the errors of the coefficients of a band."""
    distance_CC = np.abs(np.subtract.outer(np.arange(COEFFICIENTS), np.arange(COEFFICIENTS)))
    return _CORRELATION**distance_CC


def packed_correlations(rng: np.random.Generator, stars: int) -> npt.NDArray[np.float32]:
    """Estimated correlations [N, C * (C - 1) / 2]: upper triangles column by column, as in the archive.

    They scatter by 0.02, little enough for the matrices to stay positive definite.
    """
    row, column = np.tril_indices(COEFFICIENTS, k=-1)
    known = correlation_matrix()[row, column]
    return (known + 0.02 * rng.standard_normal((stars, len(known)))).astype(np.float32)


@cache
def _inverse(band: str) -> FloatArray:
    """The matrix [P, C] from sampled fluxes to coefficients: ridge regression on fading coefficients."""
    fading_C = np.exp(-np.arange(COEFFICIENTS) / _FADING)
    design_CP = fading_C[:, None] * _design()[band]
    ridge = (_RIDGE * np.linalg.norm(design_CP, ord=2)) ** 2
    normal_CC = design_CP @ design_CP.T + ridge * np.eye(COEFFICIENTS)
    return np.linalg.solve(normal_CC, design_CP).T * fading_C


@cache
def _design() -> dict[str, Any]:
    """Gaia's basis functions [C, P] of both bands, in W m-2 nm-1 for a coefficient of 1."""
    from engine.surveys.gaia.library import load_xpsampling_from_xml

    matrices = load_xpsampling_from_xml(bp_model="v375wi")
    return {band: np.asarray(matrices[band]) for band in BANDS}
