"""LSDB on a catalog: cones and cross-matches are what brute force gives, across the edges of partitions."""

from pathlib import Path
from typing import Any

import lsdb
import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from cdshealpix.nested import vertices
from hats.io.validation import is_valid_catalog, is_valid_collection

from catalogs import open_catalog
from catalogs.pixels import Pixel, slots
from engine.positions import healpix29
from tests.unit.catalog_rows import Rows, layout, publish, staged, table

pytestmark = pytest.mark.filterwarnings("ignore")
RADIUS = 1.0


def corners(order: int) -> SkyCoord:
    """The corners of all HEALPix pixels of an order: nowhere else do so many partitions meet."""
    lon, lat = vertices(np.arange(12 * 4**order, dtype=np.uint64), order)
    return SkyCoord(lon.ravel(), lat.ravel())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """900 stars, most of them within an arcsecond of where partitions meet, and three without a position."""
    rng = np.random.default_rng(3)
    edges = SkyCoord([*corners(1), *corners(2)])
    edges = edges[rng.permutation(len(edges))[:600]]
    edges = edges.directional_offset_by(rng.uniform(0, 360, 600) * u.deg, rng.uniform(0, 1, 600) * u.arcsec)
    ra = np.concatenate([edges.ra.deg, rng.uniform(0, 360, 297), np.full(3, np.nan)])
    dec = np.concatenate([edges.dec.deg, np.degrees(np.arcsin(rng.uniform(-1, 1, 297))), np.full(3, np.nan)])
    where = layout(tmp_path_factory.mktemp("lsdb"))
    staged(where, {"sky": table(Rows(ra=ra, dec=dec, task_id="sky"))})
    publish(where, ["sky"], target_bytes=6_000)
    return where.catalog


@pytest.fixture(scope="module")
def rows(path: Path) -> pd.DataFrame:
    """Ids and positions, where there is one."""
    found = open_catalog(path).to_arrow(["targetid", "ra", "dec", "_healpix_29"]).to_pandas()
    return found[found["ra"].notna()].reset_index(drop=True)


@pytest.fixture(scope="module")
def other(rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A second catalog on disk, with a margin cache: the same stars, up to 1.5 arcsec away."""
    rng = np.random.default_rng(9)
    n = len(rows)
    moved = places(rows).directional_offset_by(
        rng.uniform(0, 360, n) * u.deg, rng.uniform(0, 1.5, n) * u.arcsec
    )
    frame = pd.DataFrame({"number": np.arange(n), "ra": moved.ra.deg, "dec": moved.dec.deg})
    folder = tmp_path_factory.mktemp("other") / "gaia"
    made = lsdb.from_dataframe(frame, catalog_name="gaia", partition_rows=60, margin_threshold=5)
    made.write_catalog(folder, catalog_name="gaia")
    assert is_valid_collection(folder, strict=True)
    return lsdb.open_catalog(folder)


def places(frame: pd.DataFrame) -> SkyCoord:
    return SkyCoord(frame["ra"].to_numpy(float), frame["dec"].to_numpy(float), unit="deg")


def test_the_catalog_is_valid_and_has_many_partitions(path: Path) -> None:
    assert is_valid_catalog(path, strict=True)
    assert len(list(path.rglob("Npix=*.parquet"))) > 20


@pytest.mark.parametrize(
    ("ra", "dec", "radius"), [(150, 2, 20), (0.1, 0, 15), (45, 89.9, 12), (200, -89.9, 9)]
)
def test_a_cone_holds_what_lies_within(
    path: Path, rows: pd.DataFrame, ra: float, dec: float, radius: float
) -> None:
    cone = lsdb.open_catalog(path).cone_search(ra=ra, dec=dec, radius_arcsec=radius * 3600).compute()
    inside_N = places(rows).separation(SkyCoord(ra, dec, unit="deg")).deg <= radius
    assert sorted(cone["targetid"]) == sorted(rows["targetid"][inside_N]) != []


def test_a_cross_match_with_a_margin_misses_no_pair(path: Path, rows: pd.DataFrame, other: Any) -> None:
    stars = lsdb.open_catalog(path, columns=["targetid", "ra", "dec"], filters=[("ra", ">=", -360)])
    assert other.margin is not None
    pairs = stars.crossmatch(
        other,
        radius_arcsec=RADIUS,
        require_right_margin=True,
        suffixes=("", "_gaia"),
        suffix_method="all_columns",
    ).compute()
    right = other.compute()
    nearest_N, distance_N, _ = places(rows).match_to_catalog_sky(places(right))
    near_N = distance_N.arcsec <= RADIUS
    expected = set(zip(rows["targetid"][near_N], right["number"].to_numpy()[nearest_N[near_N]], strict=True))
    assert set(zip(pairs["targetid"], pairs["number_gaia"], strict=True)) == expected
    assert len(expected) > 400
    cut = sorted((Pixel(p.order, p.pixel) for p in other.get_healpix_pixels()), key=lambda pixel: pixel.start)
    left_N, right_N = (slots(cut, index_of(frame)) for frame in (rows[near_N], right.iloc[nearest_N[near_N]]))
    assert (left_N != right_N).sum() > 20


def index_of(frame: pd.DataFrame) -> np.ndarray:
    return healpix29(frame["ra"].to_numpy(float), frame["dec"].to_numpy(float))
