"""What the atmosphere, the spectrograph and the pipeline add: sky, throughput, noise, masks, cosmic rays.

Sky line positions after Osterbrock et al. 1996 (PASP 108, 277), telluric bands where O2 and H2O have them;
levels are chosen so that S/N per pixel is about 100 at G = 14 and 5 at G = 20.

Legend: N spectra, P pixels of an arm, Q pixels of the union of the arms.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.simulate.resolution import lsf_sigma

FloatArray = npt.NDArray[np.float64]
SpectrumArray = npt.NDArray[np.float32]

STEP: Final = 0.8
GRID: Final[FloatArray] = np.round(3600.0 + STEP * np.arange(7781), 1).astype(np.float64)
"""Observed vacuum wavelengths (Å) [Q] of b, r and z together; every arm is a slice of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmGrid:
    """One spectrograph arm: its letter and its slice of GRID."""

    name: str
    start: int
    stop: int

    @property
    def wavelength_P(self) -> FloatArray:
        """Vacuum wavelengths (Å)."""
        return GRID[self.start : self.stop]


ARMS: Final = (
    ArmGrid(name="B", start=0, stop=2751),
    ArmGrid(name="R", start=2700, stop=5026),
    ArmGrid(name="Z", start=4900, stop=7781),
)

# Bits of desispec's specmask.
COSMIC, BAD_COLUMN = 1 << 2, 1 << 10

# Vacuum wavelengths (Å) of the brighter OH, O I and Na lines of the night sky, and their relative heights.
_SKY_LINES = """5578.9 12, 5891.6 2, 5897.6 1.5, 6302.0 5, 6365.5 2, 6500.5 1, 6535.0 1, 6555.4 1, 6579.0
    1, 6830.0 1, 6865.8 3, 6902.6 1, 6925.1 3, 6941.4 2, 6950.9 2, 7242.0 2, 7278.3 5, 7286.4 3, 7305.7 2,
    7318.2 6, 7331.2 5, 7342.9 6, 7360.6 2, 7371.2 4, 7394.3 2, 7403.7 4, 7440.0 1, 7468.0 1, 7525.9 3,
    7573.8 2, 7714.0 2, 7717.6 4, 7726.6 2, 7752.8 8, 7761.9 3, 7782.6 2, 7796.3 8, 7810.4 2, 7823.5 9,
    7843.4 7, 7855.4 6, 7862.1 2, 7870.6 3, 7880.6 2, 7893.1 4, 7915.9 9, 7923.2 6, 7951.4 8, 7966.6 9,
    7982.0 3, 7995.6 9, 8016.3 4, 8028.0 6, 8064.4 5, 8105.2 2, 8290.9 3, 8300.7 6, 8313.0 5, 8346.9 12,
    8355.1 5, 8384.7 9, 8401.5 13, 8417.5 8, 8432.5 13, 8454.6 6, 8467.7 10, 8477.6 2, 8495.7 7, 8507.2 4,
    8541.0 3, 8551.1 2, 8590.0 2, 8652.0 2, 8706.0 2, 8763.0 3, 8770.3 5, 8780.8 8, 8793.6 9, 8812.0 3,
    8830.0 15, 8838.5 9, 8852.6 10, 8870.1 12, 8888.3 14, 8905.6 12, 8922.1 14, 8945.9 11, 8960.6 14,
    8974.0 3, 8990.9 10, 9003.9 6, 9021.0 4, 9040.6 5, 9052.0 6, 9105.0 4, 9306.0 6, 9316.0 10, 9327.0 9,
    9340.5 12, 9353.0 6, 9378.5 16, 9400.0 9, 9422.3 18, 9442.3 16, 9461.1 15, 9479.4 15, 9505.4 17,
    9522.0 14, 9555.1 14, 9569.7 14, 9610.3 11, 9623.3 8, 9661.0 6, 9702.0 14, 9722.7 16, 9740.0 8, 9755.0
    10, 9784.0 12, 9796.0 14, 9810.0 12"""
# Telluric bands: first and last wavelength (Å), depth where deepest, spacing of the ripple (Å).
_TELLURIC_BANDS = (
    (6868.0, 6945.0, 0.55, 11.0),
    (7168.0, 7330.0, 0.25, 17.0),
    (7594.0, 7700.0, 0.85, 14.0),
    (8135.0, 8345.0, 0.30, 19.0),
    (8940.0, 9250.0, 0.35, 23.0),
    (9290.0, 9660.0, 0.60, 21.0),
)
# Variance per unit of source flux, of dark sky, and of the detector (in units of 1e-17 erg/s/cm2/Å squared).
_SHOT, _SKY, _READ = 0.065, 0.075, 0.025


@cache
def sky_emission() -> FloatArray:
    """The night sky [Q] over its continuum at 6000 Å."""
    lines = np.array([[float(number) for number in entry.split()] for entry in _SKY_LINES.split(",")])
    sigma_L = lsf_sigma(lines[:, 0])
    profile_LQ = np.exp(-0.5 * ((GRID - lines[:, :1]) / sigma_L[:, None]) ** 2)
    return 1.0 + 0.25 * (GRID - 6000.0) / 3800.0 + 2.5 * lines[:, 1] @ profile_LQ


@cache
def telluric_transmission() -> FloatArray:
    """Transmission of the air's O2 and H2O bands [Q] at DESI's resolution, for one air mass."""
    depth_Q = np.zeros_like(GRID)
    for first, last, depth, spacing in _TELLURIC_BANDS:
        rise_Q = 1 / (1 + np.exp(np.clip((first - GRID) / 1.2, -50, 50)))
        tail_Q = np.exp(-np.maximum(GRID - first, 0) / (0.45 * (last - first)))
        ripple_Q = 0.75 + 0.25 * np.cos(2 * np.pi * (GRID - first) / spacing)
        depth_Q += depth * rise_Q * tail_Q * ripple_Q * (last + 20 > GRID)
    return 1 - np.minimum(depth_Q, 0.95)


@cache
def throughput(arm: ArmGrid) -> FloatArray:
    """Relative throughput [P] of one arm: weak in the far blue and where the dichroics share the light."""
    wavelength_P = arm.wavelength_P
    rise, fall = {"B": (3620.0, 5790.0), "R": (5775.0, 7600.0), "Z": (7540.0, 9900.0)}[arm.name]
    width_rise = 160.0 if arm.name == "B" else 14.0
    edges_P = (
        1 / (1 + np.exp((rise - wavelength_P) / width_rise)) / (1 + np.exp((wavelength_P - fall) / 14.0))
    )
    return np.maximum(edges_P, 0.04) * telluric_transmission()[arm.start : arm.stop]


def inverse_variance(flux_NP: SpectrumArray, arm: ArmGrid, depth_N: FloatArray) -> SpectrumArray:
    """Inverse variance [N, P] of true fluxes (1e-17 erg/s/cm2/Å) at relative exposure depths."""
    throughput_P = throughput(arm)
    background_P = _SKY * sky_emission()[arm.start : arm.stop] / throughput_P + _READ / throughput_P**2
    shot_P = (_SHOT / throughput_P).astype(np.float32)
    variance_NP = np.maximum(flux_NP, 0) * shot_P + background_P.astype(np.float32)
    return np.asarray(depth_N[:, None] / variance_NP, dtype=np.float32)


def add_telluric(rng: np.random.Generator, flux_NQ: SpectrumArray) -> SpectrumArray:
    """The fluxes with what an imperfect telluric correction leaves, fixed in the observed frame."""
    residual_N1 = (0.05 * rng.standard_normal(len(flux_NQ)))[:, None].astype(np.float32)
    log_Q = np.log(telluric_transmission()).astype(np.float32)
    return flux_NQ * np.exp(residual_N1 * log_Q)


def add_noise(rng: np.random.Generator, flux_NP: SpectrumArray, ivar_NP: SpectrumArray) -> SpectrumArray:
    """The fluxes with Gaussian noise of their inverse variance."""
    noise_NP = rng.standard_normal(flux_NP.shape, dtype=np.float32)
    noise_NP /= np.sqrt(ivar_NP)
    noise_NP += flux_NP
    return noise_NP


def spoil_pixels(
    rng: np.random.Generator, flux_NP: SpectrumArray, ivar_NP: SpectrumArray
) -> npt.NDArray[np.int32]:
    """Damage the arrays in place and return the mask [N, P] of what the pipeline noticed.

    About 0.3 % of the pixels get COSMIC and wrong flux but keep ivar > 0 (as desispec's coadds do where every
    exposure is masked); one detector column in 25 neighbouring rows is BAD_COLUMN with flux = ivar = 0; in
    3 % of the rows a spike of one or two pixels goes unnoticed (mask = 0).
    """
    rows, pixels = flux_NP.shape
    mask_NP = np.zeros(flux_NP.shape, dtype=np.int32)
    _hit(rng, flux_NP, ivar_NP, int(rng.poisson(0.001 * rows * pixels)), mask_NP)
    row = rng.permutation(rows)[: int(rng.binomial(rows, 0.03))]
    pixel = rng.integers(pixels - 1, size=len(row))
    height = (30 * rng.pareto(1.5, size=len(row)) + 20).astype(np.float32)
    typical = 1 / np.sqrt(np.median(ivar_NP[row], axis=1)) if len(row) else height
    flux_NP[row, pixel] += height * typical
    flux_NP[row, pixel + 1] += height * typical * rng.integers(2, size=len(row))
    first, bad = int(rng.integers(rows)), int(rng.integers(pixels))
    for array in (flux_NP, ivar_NP):
        array[first : first + 25, bad] = 0
    mask_NP[first : first + 25, bad] = BAD_COLUMN
    return mask_NP


def _hit(
    rng: np.random.Generator,
    flux_NP: SpectrumArray,
    ivar_NP: SpectrumArray,
    hits: int,
    mask_NP: npt.NDArray[np.int32],
) -> None:
    """Mask `hits` short runs of pixels (1 to 5) as COSMIC and put garbage into their flux."""
    rows, pixels = flux_NP.shape
    row, start, length = (
        rng.integers(low, high, size=hits) for low, high in ((0, rows), (0, pixels), (1, 6))
    )
    garbage = 40 * rng.standard_normal((5, hits)).astype(np.float32)
    for step in range(5):
        chosen = (length > step) & (start + step < pixels)
        place = row[chosen], start[chosen] + step
        flux_NP[place] += garbage[step][chosen] / np.sqrt(ivar_NP[place])
        mask_NP[place] = COSMIC
