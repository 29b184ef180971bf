"""Broad-band photometry of simulated spectra: Gaia's G, BP, RP and the g, r, z of the Legacy Surveys.

The passbands are smooth stand-ins cut at the ends of DESI's range; colours are zero for a 9700 K black body.
Legend: N spectra, Q pixels of GRID, B bands.
"""

from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from engine.simulate.instrument import GRID
from engine.simulate.spectrum import planck

FloatArray = npt.NDArray[np.float64]
SpectrumArray = npt.NDArray[np.float32]

# First and last half-power wavelength (Å), width of the edges (Å): G, BP, RP, g, r, z.
_BANDS: Final = (
    (4200.0, 8600.0, 500.0),
    (3900.0, 6600.0, 150.0),
    (6350.0, 9600.0, 150.0),
    (4100.0, 5450.0, 80.0),
    (5650.0, 7100.0, 80.0),
    (8550.0, 9700.0, 80.0),
)
# Mean flux density in G (1e-17 erg/s/cm2/Å) of a star of G = 0: AB zero point at 6218 Å, G(AB) - G = 0.105
# (Riello et al. 2021, A&A 649, A3).
_ZERO_POINT = 2.56e8
# Nanomaggies per unit of flux density at the middle of g, r, z: 3.631e-29 erg/s/cm2/Hz, lambda^2 / c.
_NANOMAGGIES = tuple(1e-17 * wavelength**2 / 2.998e18 / 3.631e-29 for wavelength in (4770.0, 6370.0, 9170.0))


def scale_to_magnitude(flux_NQ: SpectrumArray, g_mag_N: FloatArray) -> SpectrumArray:
    """The spectra in 1e-17 erg/s/cm2/Å such that their mean over G is 2.56e8 * 10^(-0.4 G)."""
    mean_N = flux_NQ @ _passbands()[:, 0]
    return flux_NQ * (_ZERO_POINT * 10 ** (-0.4 * g_mag_N) / mean_N).astype(np.float32)[:, None]


def gaia_colours(flux_NQ: SpectrumArray) -> FloatArray:
    """BP - G and RP - G (mag) [N, 2]; 0 where a spectrum has no light."""
    mean_NB = np.maximum(flux_NQ @ _passbands()[:, :3], 1e-6).astype(np.float64)
    vega = planck(np.array([9700.0]), GRID) @ _passbands()[:, :3]
    ratio_NB = mean_NB / vega
    return -2.5 * np.log10(ratio_NB[:, 1:] / ratio_NB[:, :1])


def nanomaggies(flux_NQ: SpectrumArray) -> FloatArray:
    """g, r, z fluxes [N, 3] of spectra in 1e-17 erg/s/cm2/Å."""
    return (flux_NQ @ _passbands()[:, 3:]).astype(np.float64) * _NANOMAGGIES


@cache
def _passbands() -> SpectrumArray:
    """Weights [Q, B] that add up to 1."""
    rise_QB, fall_QB = (
        1
        / (
            1
            + np.exp(sign * (GRID[:, None] - [band[edge] for band in _BANDS]) / [band[2] for band in _BANDS])
        )
        for edge, sign in ((0, -1), (1, 1))
    )
    weight_QB = rise_QB * fall_QB
    return (weight_QB / weight_QB.sum(axis=0)).astype(np.float32)
