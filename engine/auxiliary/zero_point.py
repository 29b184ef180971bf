"""The zero-point of Gaia DR3 parallaxes, from the package that its authors maintain."""

from collections.abc import Mapping
from functools import cache
from types import ModuleType

import numpy as np
import pyarrow as pa

from engine.auxiliary.inputs import PARALLAX_ZERO_POINT

FIVE, SIX = 31, 95
SOLUTION = ("nu_eff_used_in_astrometry", "pseudocolour", "ecl_lat", "astrometric_params_solved")
INPUTS = ("phot_g_mean_mag", *SOLUTION)

# A solution with five parameters has no pseudocolour, one with six no effective wavenumber: none is missed.
NOT_USED = {"pseudocolour": FIVE, "nu_eff_used_in_astrometry": SIX}


def zero_point(columns: Mapping[str, pa.ChunkedArray]) -> pa.Array:
    """The parallax zero-point in mas of N sources, to subtract; NULL where it is unknown or not valid.

    Lindegren et al. 2021 (A&A 649, A4): valid for 6 < G < 21, solutions with five (1.1 < nu_eff < 1.9 per
    micron) or six parameters (1.24 < pseudocolour < 1.72).
    """
    given = [columns[name].cast(pa.float64()).fill_null(np.nan).to_numpy() for name in INPUTS]
    solved_N = np.isin(given[-1], (FIVE, SIX))
    zero_N = np.full(len(solved_N), np.nan)
    if solved_N.any():
        # Without its warnings the package gives NaN outside its range, with them an extrapolation.
        inputs = [values_N[solved_N] for values_N in given]
        zero_N[solved_N] = _package().get_zpt(*inputs, _warnings=False)
    return pa.array(zero_N.astype(np.float32), PARALLAX_ZERO_POINT.type, mask=~np.isfinite(zero_N))


@cache
def _package() -> ModuleType:
    from zero_point import zpt

    zpt.load_tables()
    return zpt
