"""Galaxies of the simulated survey: a 4000 Å break, old-population absorption and emission lines.

Legend: N galaxies, P pixels, L lines.
"""

import numpy as np
import numpy.typing as npt

from engine.simulate.instrument import GRID

FloatArray = npt.NDArray[np.float64]

# Rest vacuum wavelength (Å), equivalent width (Å; negative absorbs), sigma (Å).
_LINES = np.array(
    [
        (3728.5, 14.0, 2.6),
        (3934.8, -7.0, 7.0),
        (3969.6, -6.0, 7.0),
        (4305.6, -5.0, 12.0),
        (4862.7, 5.0, 2.4),
        (4960.3, 3.0, 2.4),
        (5008.2, 9.0, 2.4),
        (5176.6, -5.0, 9.0),
        (5895.6, -3.0, 5.0),
        (6549.9, 3.0, 3.0),
        (6564.6, 25.0, 3.0),
        (6585.3, 9.0, 3.0),
        (6718.3, 5.0, 3.0),
        (6732.7, 4.0, 3.0),
    ]
)


def galaxy_spectra(redshift_N: FloatArray, activity_N: FloatArray) -> npt.NDArray[np.float32]:
    """Spectra [N, P] on the observed grid, arbitrary units near 1; `activity` (0..2) scales the emission."""
    rest_NP = GRID / (1 + redshift_N[:, None])
    continuum_NP = (rest_NP / 5500.0) ** 0.3 * (0.45 + 0.55 / (1 + np.exp((4010.0 - rest_NP) / 60.0)))
    lines_NP = np.zeros_like(rest_NP)
    for center, width, sigma in _LINES:
        strength_N = width * (activity_N if width > 0 else 1 - 0.25 * activity_N)
        shape_NP = np.exp(-0.5 * ((rest_NP - center) / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma)
        lines_NP += strength_N[:, None] * shape_NP
    return (continuum_NP * (1 + np.maximum(lines_NP, -0.95))).astype(np.float32)
