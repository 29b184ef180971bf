"""Spectra -> rows of a label table, by position: the nearest within a radius.

Positions are unit vectors in a k-d tree, about 100 bytes for each row of the table. A star that the table has
several times, within the radius of itself, is one star all the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from engine.errors import PlanError
from engine.train.spec import SkyMatch
from engine.types import Bools, Doubles

MAS = np.pi / 180 / 3600 / 1000
ARCSEC = 1000 * MAS


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """Rows of a label table by where they were in the spectra's year, each with the first of its star."""

    tree: KDTree
    row_R: np.ndarray
    star_R: np.ndarray
    reach: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """For each spectrum its row of the label table, -1 where there is none; whether another was near too."""

    row_N: np.ndarray
    star_N: np.ndarray
    ambiguous_N: Bools


def open_sky(columns: Mapping[str, Any], key: str, sky: SkyMatch) -> Sky:
    """The rows of a table that have a position, ready to be asked; PlanError when none has."""
    read = {name: np.asarray(columns[name], np.float64) for name in columns if name != key}
    there_R = _on_sky(read["_ra"], read["_dec"])
    if not there_R.any():
        raise PlanError("labels.sky: no row of the label table has a position; check ra and dec, in degrees")
    placed = {name: values[there_R] for name, values in read.items()}
    vector_RX = _moved(placed, sky) if sky.pm_ra is not None else _vectors(placed["_ra"], placed["_dec"])
    tree, reach = KDTree(vector_RX), 2 * np.sin(sky.radius_arcsec * ARCSEC / 2)
    row_R = np.asarray(columns[key])[there_R]
    return Sky(tree=tree, row_R=row_R, star_R=row_R[_firsts(tree, reach)], reach=reach)


def nearest(sky: Sky, spectra: pa.Table) -> Nearest:
    """The nearest row of each spectrum. The centre of a source_id's pixel is no position here."""
    ra_N, dec_N = (spectra[name].fill_null(np.nan).to_numpy() for name in ("ra", "dec"))
    rough_N = np.array([source == "source_id" for source in spectra["position_source"].to_pylist()], bool)
    there_N = _on_sky(ra_N, dec_N) & ~rough_N
    row_N, star_N = np.full(len(ra_N), -1), np.full(len(ra_N), -1)
    ambiguous_N = np.zeros(len(ra_N), bool)
    _, found_NK = sky.tree.query(
        _vectors(ra_N[there_N], dec_N[there_N]), k=2, distance_upper_bound=np.nextafter(sky.reach, np.inf)
    )
    none = len(sky.row_R)
    rows, stars = np.append(sky.row_R, -1), np.append(sky.star_R, -1)
    row_N[there_N], star_N[there_N] = rows[found_NK[:, 0]], stars[found_NK[:, 0]]
    ambiguous_N[there_N] = found_NK[:, 1] < none
    return Nearest(row_N=row_N, star_N=star_N, ambiguous_N=ambiguous_N)


def _on_sky(ra_N: Doubles, dec_N: Doubles) -> Bools:
    return np.isfinite(ra_N) & np.isfinite(dec_N) & (np.abs(dec_N) <= 90) & (np.abs(ra_N) <= 360)


def _vectors(ra_N: Doubles, dec_N: Doubles) -> Doubles:
    ra, dec = np.radians(ra_N), np.radians(dec_N)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _moved(placed: Mapping[str, Doubles], sky: SkyMatch) -> Doubles:
    """Positions in the year of the spectra: along a straight line, without parallax and radial velocity."""
    assert sky.epoch is not None and sky.survey_epoch is not None
    ra, dec = np.radians(placed["_ra"]), np.radians(placed["_dec"])
    east = np.stack([-np.sin(ra), np.cos(ra), np.zeros_like(ra)], axis=1)
    north = np.stack([-np.sin(dec) * np.cos(ra), -np.sin(dec) * np.sin(ra), np.cos(dec)], axis=1)
    angle_east, angle_north = (
        np.nan_to_num(placed[name]) * MAS * (sky.survey_epoch - sky.epoch) for name in ("_pm_ra", "_pm_dec")
    )
    moved = (
        _vectors(placed["_ra"], placed["_dec"]) + angle_east[:, None] * east + angle_north[:, None] * north
    )
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def _firsts(tree: KDTree, reach: float) -> np.ndarray:
    """For each place in the tree the first that it hangs together with."""
    pairs = tree.query_pairs(reach, output_type="ndarray")
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(tree.n, tree.n))
    group = connected_components(links, directed=False)[1]
    return np.unique(group, return_index=True)[1][group]
