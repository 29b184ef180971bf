"""Gaia DR3 spectra: RVS, XP coefficients, and XP as sampled; bulk files and DataLink, in any serialisation.

`tables.py` gives the same columns out of CSV, ECSV, FITS and VOTable; `spectra.py` and `xp.py` turn them into
pixels.
"""

from engine.surveys.gaia.rvs import GAIA_RVS
from engine.surveys.gaia.xp import GAIA_XP
from engine.surveys.gaia.xp_sampled import GAIA_XP_SAMPLED

__all__ = ["GAIA_RVS", "GAIA_XP", "GAIA_XP_SAMPLED"]
