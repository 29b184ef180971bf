"""The line spread function of the simulated DESI spectrographs, and its diagonals as coadds store them.

Legend: D diagonals, P pixels of an arm.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import erf

FloatArray = npt.NDArray[np.float64]

DIAGONALS: Final = 11


def lsf_sigma(wavelength: FloatArray) -> FloatArray:
    """Gaussian sigma (Å) of the LSF: FWHM 1.85 Å at 3600 (R 1950), 1.65 at 6600, 1.85 at 9800 (R 5300)."""
    return (1.65 + 0.20 * ((wavelength - 6600.0) / 3100.0) ** 2) / 2.3548


def resolution_diagonals(wavelength_P: FloatArray) -> npt.NDArray[np.float32]:
    """The resolution matrix of an evenly spaced arm as [D, P]: scipy.sparse.dia_matrix rows, offsets 5 to -5.

    Entry (d, j) is the share of monochromatic light at pixel j that falls into pixel j - offset(d): the
    Gaussian integrated over that pixel (desispec.resolution.Resolution reads the same layout). Light beyond
    the arm's ends is lost, as on the detector: only there do the columns not add up to 1.
    """
    step = wavelength_P[1] - wavelength_P[0]
    offset_D1 = np.arange(DIAGONALS // 2, -DIAGONALS // 2, -1)[:, None]
    scale_P = step / (np.sqrt(2.0) * lsf_sigma(wavelength_P))
    share_DP = 0.5 * (erf((-offset_D1 + 0.5) * scale_P) - erf((-offset_D1 - 0.5) * scale_P))
    row_DP = np.arange(len(wavelength_P)) - offset_D1
    inside_DP = (row_DP >= 0) & (row_DP < len(wavelength_P))
    return np.where(inside_DP, share_DP, 0).astype(np.float32)
