"""Labels are found by position: the nearest within the radius, after stars have moved."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from engine.errors import PlanError
from engine.train.match_sky import Nearest, nearest, open_sky
from engine.train.spec import SkyMatch

ARCSEC = 1 / 3600


def found(columns: dict[str, Any], ra: list[float], dec: list[float], **changes: Any) -> Nearest:
    rows = {"_key": np.arange(100, 100 + len(columns["_ra"]))} | {k: np.array(v) for k, v in columns.items()}
    sky = open_sky(rows, "_key", SkyMatch.model_validate({"radius_arcsec": 1.0} | changes))
    places = pa.array(["survey"] * len(ra))
    return nearest(sky, pa.table({"ra": pa.array(ra), "dec": pa.array(dec), "position_source": places}))


def test_the_nearest_within_the_radius_is_taken_and_doubt_is_told() -> None:
    table = {"_ra": [10.0, 10.0, 359.9999, 50.0], "_dec": [0.0, 1.5 * ARCSEC, 89.9999, np.nan]}
    ra = [10.0, 10.0, 10.0, 10.0, 179.9999, 50.0, np.nan]
    dec = [0.4 * ARCSEC, 0.8 * ARCSEC, -0.99 * ARCSEC, -1.01 * ARCSEC, 89.9999 + 0.1 * ARCSEC, 0.0, 0.0]
    matched = found(table, ra, dec)
    assert matched.row_N.tolist() == [100, 101, 100, -1, 102, -1, -1]
    assert matched.ambiguous_N.tolist() == [False, True, False, False, False, False, False]
    assert found(table, [-0.0001], [89.9999]).row_N.tolist() == [102]


def test_rows_within_the_radius_of_each_other_are_one_star() -> None:
    table = {"_ra": [10.0, 20.0, 10.0, 10.0], "_dec": [0.0, 0.0, 0.9 * ARCSEC, 1.8 * ARCSEC]}
    matched = found(table, [10.0, 10.0, 20.0], [0.0, 1.8 * ARCSEC, 0.0])
    assert matched.row_N.tolist() == [100, 103, 101]
    assert matched.star_N.tolist() == [100, 100, 101]


def test_proper_motion_is_followed_as_astropy_does() -> None:
    random = np.random.default_rng(1)
    ra, dec = random.uniform(0, 360, 200), np.degrees(np.arcsin(random.uniform(-1, 1, 200)))
    pm_ra, pm_dec = random.uniform(-3000, 3000, (2, 200))
    stars = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pm_ra * u.mas / u.yr,
        pm_dec=pm_dec * u.mas / u.yr,
        distance=1 * u.kpc,
        radial_velocity=0 * u.km / u.s,
        obstime=Time(2016.0, format="jyear", scale="tdb"),
    )
    moved = stars.apply_space_motion(Time(1990.0, format="jyear", scale="tdb"))
    table = {"_ra": ra, "_dec": dec, "_pm_ra": pm_ra, "_pm_dec": pm_dec}
    motion = {"pm_ra": "a", "pm_dec": "b", "epoch": 2016.0, "survey_epoch": 1990.0, "radius_arcsec": 0.02}
    places = np.asarray(moved.ra.deg).tolist(), np.asarray(moved.dec.deg).tolist()
    assert found(table, *places, **motion).row_N.tolist() == list(range(100, 300))
    assert (found(table, *places).row_N == -1).mean() > 0.9


def test_a_rough_position_is_none_and_a_table_needs_some() -> None:
    sky = open_sky({"_key": np.array([0]), "_ra": [1.0], "_dec": [1.0]}, "_key", SkyMatch(radius_arcsec=1))
    rough = pa.table({"ra": [1.0], "dec": [1.0], "position_source": ["source_id"]})
    assert nearest(sky, rough).row_N.tolist() == [-1]
    with pytest.raises(PlanError, match="no row of the label table has a position"):
        found({"_ra": [np.nan], "_dec": [0.0]}, [1.0], [1.0])
