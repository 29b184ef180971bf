"""The targets of one file before any light is made: who they are, where, how bright, how fast.

Legend: N targets, L labels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from astropy import units as u
from astropy.coordinates import Latitude, Longitude
from cdshealpix.nested import healpix_to_lonlat, lonlat_to_healpix

from engine.simulate.labels import LABELS, LabelArray, column
from engine.simulate.plan import NSIDE_DEPTH

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

RELEASE: Final = 9011
# G of the brightest and faintest star of each program, and the two shapes of a beta distribution in between.
_MAGNITUDES = {
    "bright": (14.8, 19.8, 1.5, 2.0),
    "dark": (15.5, 20.0, 1.6, 1.5),
    "backup": (12.5, 16.5, 2.0, 1.5),
}
_SKY_BIT: Final = 1 << 59


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Targets row by row: ids, ICRS position (deg), G (mag), E(B-V), velocity (km/s), parallax (mas), proper
    motion (mas/yr). `source_id` is 0 and `in_gaia` false where Gaia knows nothing."""

    targetid_N: IntArray
    source_id_N: IntArray
    ra_N: FloatArray
    dec_N: FloatArray
    g_mag_N: FloatArray
    ebv_N: FloatArray
    velocity_N: FloatArray
    parallax_N: FloatArray
    motion_N2: FloatArray
    labels_NL: LabelArray

    def __len__(self) -> int:
        """The number of targets."""
        return len(self.targetid_N)

    def take(self, rows: slice | IntArray) -> Self:
        """These rows, in this order."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def join(parts: Sequence[Targets]) -> Targets:
    """Targets one after another."""
    return Targets(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Targets)
        }
    )


def draw_targets(
    rng: np.random.Generator, labels_NL: LabelArray, *, program: str, healpix: int, first_object: int
) -> Targets:
    """Stars of these labels in a pixel (nside 64, nested); 5 % of them without Gaia.

    `first_object` is the first object number in the pixel, so that the TARGETIDs of two programs differ.
    """
    count = len(labels_NL)
    ra_N, dec_N = draw_positions(rng, healpix, count)
    low, high, first, second = _MAGNITUDES[program]
    g_mag_N = low + (high - low) * rng.beta(first, second, size=count)
    fe_h_N = column(labels_NL, "fe_h")
    dispersion_N = np.select([fe_h_N < -1.0, fe_h_N < -0.5], [150.0, 60.0], 40.0)
    ebv_N = np.exp(np.log(0.03) + 0.35 * np.sin(healpix / 3.0) + 0.15 * rng.standard_normal(count))
    velocity_N = np.clip(dispersion_N * rng.standard_normal(count), -550, 550)
    distance_N = distances(labels_NL, g_mag_N - 2.6 * ebv_N)
    error_N = 0.02 + 0.02 * 10 ** (0.2 * (g_mag_N - 16))
    tangential_N2 = dispersion_N[:, None] * rng.standard_normal((count, 2)) / (4.74 * distance_N[:, None])
    missing_N = rng.random(count) < 0.05
    source_id_N = np.where(missing_N, 0, source_ids(rng, ra_N, dec_N))
    return Targets(
        targetid_N=target_ids(healpix, first_object, count),
        source_id_N=source_id_N,
        ra_N=ra_N,
        dec_N=dec_N,
        g_mag_N=g_mag_N,
        ebv_N=ebv_N,
        velocity_N=velocity_N,
        parallax_N=1 / distance_N + error_N * rng.standard_normal(count),
        motion_N2=tangential_N2,
        labels_NL=labels_NL,
    )


def draw_others(
    rng: np.random.Generator, healpix: int, first_object: int, count: int, *, sky: bool = False
) -> Targets:
    """Targets that are not stars (no labels, no Gaia): galaxies of G 17..20, or blank sky with its id bit."""
    ra_N, dec_N = draw_positions(rng, healpix, count)
    zero_N = np.zeros(count)
    return Targets(
        targetid_N=target_ids(healpix, first_object, count) | (_SKY_BIT if sky else 0),
        source_id_N=np.zeros(count, dtype=np.int64),
        ra_N=ra_N,
        dec_N=dec_N,
        g_mag_N=zero_N if sky else rng.uniform(17.0, 20.0, size=count),
        ebv_N=np.full(count, 0.03),
        velocity_N=zero_N,
        parallax_N=zero_N,
        motion_N2=np.zeros((count, 2)),
        labels_NL=np.full((count, len(LABELS)), np.nan, dtype=np.float32),
    )


def target_ids(healpix: int, first_object: int, count: int) -> IntArray:
    """TARGETIDs in the bit layout of desitarget: object in bits 0-21, brick in 22-41, release in 42-57."""
    return (RELEASE << 42) | (healpix << 22) | (first_object + np.arange(count, dtype=np.int64))


def draw_positions(rng: np.random.Generator, healpix: int, count: int) -> tuple[FloatArray, FloatArray]:
    """RA and Dec (deg) spread evenly over one pixel, never on its edge."""
    # A random cell of order 29 inside the pixel: cells have equal areas, and their centres are off its edge.
    inside_N = rng.integers(1 << 2 * (29 - NSIDE_DEPTH), size=count)
    cell_N = (healpix << 2 * (29 - NSIDE_DEPTH)) | inside_N
    lon, lat = healpix_to_lonlat(cell_N, 29, num_threads=1)
    return np.asarray(lon.to_value(u.deg)), np.asarray(lat.to_value(u.deg))


def source_ids(rng: np.random.Generator, ra_N: FloatArray, dec_N: FloatArray) -> IntArray:
    """Gaia source_ids: the nested level-12 pixel in the bits above 35, as Gaia defines them."""
    pixel_N = lonlat_to_healpix(Longitude(ra_N, u.deg), Latitude(dec_N, u.deg), 12, num_threads=1)
    return (np.asarray(pixel_N).astype(np.int64) << 35) | rng.integers(1, 1 << 35, size=len(ra_N))


def distances(labels_NL: LabelArray, g_mag_N: FloatArray) -> FloatArray:
    """Distances (kpc) of stars of one solar mass that have these labels and extinction-free G."""
    log_luminosity_N = 4 * np.log10(column(labels_NL, "teff") / 5772) - (column(labels_NL, "logg") - 4.438)
    absolute_N = 4.67 - 2.5 * log_luminosity_N
    return np.maximum(10 ** (0.2 * (g_mag_N - absolute_N) - 2), 0.01)
