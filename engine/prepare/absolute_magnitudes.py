"""Photometry and parallax -> what the network of Guiglion et al. (2020, A&A 644, A168) takes beside flux."""

import numpy as np
import pyarrow as pa

from engine.prepare.array import column
from engine.types import Extras

MAGNITUDES = (
    "phot_g_mean_mag",
    "phot_bp_mean_mag",
    "phot_rp_mean_mag",
    "tmass_j",
    "tmass_h",
    "tmass_ks",
    "wise_w1",
    "wise_w2",
)
EXTINCTION = "a_v"
NAMES = (*(f"absolute_{name}" for name in MAGNITUDES), EXTINCTION)
LEAST_PARALLAX_MAS = 0.1


def absolute_magnitudes(spectra: pa.Table) -> Extras:
    """Eight magnitudes as if at 10 pc by 1/parallax, and A_V as it is, in the network's order.

    M = m + 5 (log10(parallax in arcsec) + 1), without extinction, after the authors' public notebook. That
    clips parallaxes at 0.1 mas, so smaller and negative ones all read as 10 kpc: those rows are saturated.
    """
    parallax_N = column(spectra, "parallax")
    parallax_N = np.where(np.isfinite(parallax_N), parallax_N, np.nan)
    # The other limit of the notebook, 6.8e8 arcsec, is no parallax of a star.
    arcsec_N = np.maximum(parallax_N, LEAST_PARALLAX_MAS) / 1000
    apparent_NE = np.stack([column(spectra, name) for name in MAGNITUDES], axis=1)
    absolute_NE = apparent_NE + 5 * (np.log10(arcsec_N) + 1)[:, None]
    value_NE = np.column_stack([absolute_NE, column(spectra, EXTINCTION)])
    return Extras(
        names=NAMES,
        value_NE=np.where(np.isfinite(value_NE), value_NE, np.nan).astype(np.float32),
        saturated_N=parallax_N < LEAST_PARALLAX_MAS,
    )
