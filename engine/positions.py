"""Positions on the sky: which rows have one, their HEALPix index, and those that a Gaia source_id implies."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from astropy import units as u
from astropy.coordinates import Latitude, Longitude
from cdshealpix.nested import healpix_to_lonlat, lonlat_to_healpix

from engine.types import Bools, Doubles

# A Gaia source_id holds the nested HEALPix pixel of order 12 above its lowest 35 bits.
SOURCE_ORDER, SOURCE_BITS = 12, 35


def known_positions(ra_N: Doubles, dec_N: Doubles) -> Bools:
    """Which rows have a position on the sky: finite, and no placeholder such as dec = -9999."""
    return np.isfinite(ra_N) & (np.abs(ra_N) <= 360) & np.isfinite(dec_N) & (np.abs(dec_N) <= 90)


def healpix29(ra_N: Doubles, dec_N: Doubles) -> npt.NDArray[np.int64]:
    """HEALPix nested order-29 indices of ICRS positions in degrees; 0 where there is no position."""
    known_N = known_positions(ra_N, dec_N)
    index_N = np.zeros(len(ra_N), np.int64)
    lon, lat = Longitude(ra_N[known_N], u.deg), Latitude(dec_N[known_N], u.deg)
    index_N[known_N] = np.asarray(lonlat_to_healpix(lon, lat, depth=29), dtype=np.int64)
    return index_N


def source_positions(source_ids: Any) -> dict[str, pa.Array]:
    """ra, dec and position_source of Gaia source_ids; NULL for one that is missing or names no pixel.

    Good to about 50 arcsec: the pixels of order 12 are 52 arcsec wide.
    """
    ids = pa.array(source_ids, pa.int64())
    pixels = np.right_shift(ids.fill_null(0).to_numpy(zero_copy_only=False), SOURCE_BITS)
    known_N = (pixels >= 0) & (pixels < 12 * 4**SOURCE_ORDER) & ids.is_valid().to_numpy(zero_copy_only=False)
    lon, lat = healpix_to_lonlat(np.where(known_N, pixels, 0).astype(np.uint64), SOURCE_ORDER)
    return {
        "ra": pa.array(lon.to_value(u.deg), mask=~known_N),
        "dec": pa.array(lat.to_value(u.deg), mask=~known_N),
        "position_source": pa.array(["source_id"] * len(ids), mask=~known_N),
    }
