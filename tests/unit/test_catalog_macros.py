"""The macros: cones as astropy has them, anywhere on the sky; flags and labels as the catalog has them."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs import open_catalog, query
from catalogs.macros import define, flags_of, labels_of
from engine.errors import InputError
from engine.flags import FLAGS, names
from jobs import show
from tests.unit.catalog_rows import FIRST_ID, Rows, layout, publish, staged, stars, table

LABELS = ["teff", "logg", "fe_h", "mg_fe"]
OLD = [
    {"bit": 0, "name": "NOTHING", "severity": "bad", "text": "an older word for no result"},
    {"bit": 2, "name": "FEW_PIXELS", "severity": "warn", "text": "an older word"},
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 stars all over the sky, and 60 where it is hard: near the poles, near RA 0, without a position."""
    rng = np.random.default_rng(5)
    ra = np.concatenate([rng.uniform(0, 360, 20), rng.uniform(-2, 2, 20) % 360, np.full(20, np.nan)])
    dec = np.concatenate([np.repeat([89.9, -89.9], 10), rng.uniform(-1, 1, 20), np.full(20, np.nan)])
    hard = table(Rows(ra=ra, dec=dec, first=600, task_id="hard"))
    where = layout(tmp_path_factory.mktemp("macros"))
    staged(where, {"sky": stars(600, task_id="sky"), "hard": hard})
    publish(where, ["sky", "hard"])
    return where.catalog


@pytest.fixture(scope="module")
def old(path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same catalog by a program whose flags had other names."""
    copy = Path(shutil.copytree(path, tmp_path_factory.mktemp("old") / "v1"))
    content = json.loads((copy / "manifest.json").read_text()) | {"flags": OLD}
    (copy / "manifest.json").write_text(json.dumps(content))
    return copy


@pytest.fixture(scope="module")
def sky() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        define(connection, {"flags": []}, ["ra", "dec", "flags", "flag_bad"])  # pyright: ignore[reportArgumentType]
        yield connection


degrees = st.one_of(st.sampled_from([0.0, 1e-9, 90.0, 180.0, 359.999999, 360.0, -0.5]), st.floats(-360, 360))
heights = st.one_of(st.sampled_from([90.0, -90.0, 0.0, 89.9999999, -89.5]), st.floats(-90, 90))
radii = st.one_of(
    st.sampled_from([0.0, 1e-6, 0.2, 89.9999, 90.0, 90.0001, 179.9999, 180.0]), st.floats(0, 180)
)
EDGE = 1e-9


@given(ra=degrees, dec=heights, radius=radii, seed=st.integers(0, 99))
@settings(max_examples=120)
def test_a_cone_is_what_astropy_says(
    sky: duckdb.DuckDBPyConnection, ra: float, dec: float, radius: float, seed: int
) -> None:
    """Stars anywhere, many of them near the edge of the cone, at the poles and at its centre."""
    rng = np.random.default_rng(seed)
    centre = SkyCoord(ra % 360, dec, unit="deg")
    ring = centre.directional_offset_by(
        rng.uniform(0, 360, 200) * u.deg, np.clip(radius + rng.normal(0, 0.01, 200), 0, 180) * u.deg
    )
    ra_N = np.concatenate(
        [ring.ra.deg, rng.uniform(0, 360, 100), [0, 360, 10, ra, ra % 360, (ra + 180) % 360]]
    )
    dec_N = np.concatenate([ring.dec.deg, rng.uniform(-90, 90, 100), [90, -90, 90, dec, dec, -dec]])
    ra_N = ra_N - 360 * ((rng.random(len(ra_N)) < 0.2) & (ra_N >= 0))
    distance_N = centre.separation(SkyCoord(ra_N % 360, dec_N, unit="deg")).deg
    catalog = pa.table({"ra": ra_N, "dec": dec_N, "flags": np.zeros(len(ra_N), np.int32)})
    sky.register("here", catalog)
    for call in (f"cone({ra!r}, {dec!r}, {radius!r})", f"cone(ra, dec, {ra!r}, {dec!r}, {radius!r})"):
        inside_N = sky.execute(f"SELECT {call} AS i FROM here").fetchnumpy()["i"]
        clear_N = np.abs(distance_N - radius) > EDGE
        assert np.array_equal(inside_N[clear_N], (distance_N <= radius)[clear_N])
        assert inside_N[-3:-1].all()


@pytest.mark.parametrize(("ra", "dec", "radius"), [(0, 0, 3), (359.5, 0.5, 2), (77, 90, 0.2), (5, -89.95, 1)])
def test_a_cone_prunes_and_finds_all_over_files(path: Path, ra: float, dec: float, radius: float) -> None:
    rows = open_catalog(path).to_arrow(["ra", "dec", "targetid"]).drop_null()
    places = SkyCoord(rows["ra"].to_numpy(), rows["dec"].to_numpy(), unit="deg")
    inside_N = places.separation(SkyCoord(ra, dec, unit="deg")).deg <= radius
    found = query(path, f"SELECT targetid FROM catalog WHERE cone({ra}, {dec}, {radius})")
    assert sorted(found["targetid"].to_pylist()) == sorted(rows["targetid"].to_numpy()[inside_N].tolist())
    assert inside_N.any()


def test_the_box_of_a_cone_reaches_the_reader(path: Path) -> None:
    """Constants beside ra and dec in the scan: that is what DuckDB compares with statistics."""
    with open_catalog(path).duckdb() as connection:
        sql = "EXPLAIN SELECT count(*) FROM catalog WHERE cone(359.9, 2, 0.2)"
        [[_, plan]] = connection.execute(sql).fetchall()
    scan = plan[plan.index("READ_PARQUET") :]
    bounds = [float(x) for x in re.findall(r"(?:ra|dec) [<>]=? (-?[\d.]+)", scan)]
    assert {round(x, 2) for x in bounds} >= {359.7, 1.8, 2.2}


def test_rows_without_a_position_are_in_no_cone(path: Path) -> None:
    counts = query(
        path,
        "SELECT count(*) AS n, count(*) FILTER (cone(10, 10, 180)) AS inside, "
        "count(*) FILTER (NOT cone(10, 10, 180)) AS outside, count(cone(10, 10, 1)) AS known FROM catalog",
    )
    assert counts.to_pylist() == [{"n": 660, "inside": 640, "outside": 0, "known": 640}]


@pytest.mark.parametrize(
    "call", ["10, 10, -1", "10, 10, 180.1", "10, 91, 1", "10, NULL, 1", "'nan'::DOUBLE, 1, 1", "NULL, 1, 1"]
)
def test_a_cone_that_is_none_is_refused(path: Path, call: str) -> None:
    with pytest.raises(InputError, match=r"takes degrees: dec in -90\.\.90, radius in 0\.\.180"):
        query(path, f"SELECT * FROM catalog WHERE cone({call})")


def test_cones_join_catalogs_and_know_parameters(path: Path) -> None:
    sql = "SELECT count(*) AS n FROM catalog a JOIN catalog b ON cone(a.ra, a.dec, b.ra, b.dec, 1e-4)"
    assert query(path, sql)["n"].to_pylist() == [640]
    with open_catalog(path).duckdb() as connection:
        sql = "SELECT count(*) FROM catalog WHERE cone(?, ?, ?) AND NOT flag_set(?) AND good(?)"
        assert connection.execute(sql, [0, 0, 3, "NO_RESULT", "teff"]).fetchall()[0][0] > 0


def test_flags_are_set_by_name(path: Path) -> None:
    rows = open_catalog(path).to_arrow(["flags"])["flags"].to_numpy()
    for flag in FLAGS:
        for call in (f"flag_set('{flag.name}')", f"flag_set(flags, '{flag.name.lower()}')"):
            found = query(path, f"SELECT count(*) FILTER ({call}) AS n FROM catalog")["n"].to_pylist()
            assert found == [int(np.sum((rows & flag.value) != 0))]


def test_flags_have_names_in_bit_order(path: Path) -> None:
    bits = [0, 1, 5, 2**28 + 4, 2**30, -(2**31)]
    listed = ", ".join(f"flag_names(({value})::INTEGER)" for value in bits)
    [row] = query(path, f"SELECT {listed}, flag_names(NULL)").to_pylist()
    assert list(row.values()) == [*(names(value) for value in bits[:4]), ["BIT_30"], ["BIT_31"], None]
    found = query(path, "SELECT flags, flag_names(flags) AS names FROM catalog").to_pylist()
    assert all(row["names"] == names(row["flags"]) for row in found)


def test_good_is_known_inside_the_training_range_and_not_bad(path: Path) -> None:
    for label in LABELS:
        said = f"{label} IS NOT NULL AND flag_{label} = 0 AND NOT flag_bad"
        call = f"good('{label}')"
        sql = f"SELECT count(*) FILTER ({call} IS DISTINCT FROM ({said})) AS n, count(*) FILTER ({call}) AS g"
        [row] = query(path, f"{sql} FROM catalog").to_pylist()
        assert (row["n"], 0 < row["g"] < 660) == (0, True)
    assert labels_of(open_catalog(path).schema.names) == LABELS


def test_good_reads_the_columns_of_its_label_only(path: Path) -> None:
    with open_catalog(path).duckdb() as connection:
        sql = "EXPLAIN SELECT count(*) FROM catalog WHERE good('logg')"
        [[_, plan]] = connection.execute(sql).fetchall()
    assert "flag_logg" in plan and "teff" not in plan


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("flag_set('LOWSNR')", r"no flag 'LOWSNR'; did you mean LOW_SNR\?"),
        ("flag_set(flags, 'low snr')", r"no flag 'low snr'; did you mean LOW_SNR"),
        ("flag_set('QQ')", r"no flag 'QQ'; flags here: NO_RESULT, NO_GOOD_PIXELS"),
        ("flag_set(NULL)", "no flag ''"),
        ("flag_set(9)", "no flag '9'"),
        ("good('tef')", r"no label 'tef'; did you mean teff\?"),
        ("good('zz')", "no label 'zz'; labels here: teff, logg, fe_h, mg_fe"),
        ("good('snr')", "no label 'snr'"),
        ("good(teff)", r"a name in quotes, such as good\('teff'\)"),
        ("flag_set(survey)", "a name in quotes"),
    ],
)
@pytest.mark.parametrize("where", ["", " WHERE teff > 1e9", " WHERE cone(0, 0, 0)"])
def test_unknown_names_are_errors_whatever_rows_there_are(
    path: Path, call: str, said: str, where: str
) -> None:
    with pytest.raises(InputError, match=f"^SQL: .*{said}") as caught:
        query(path, f"SELECT {call} FROM catalog{where}")
    assert "\n" not in str(caught.value)
    with open_catalog(path).duckdb() as connection, pytest.raises(duckdb.Error):
        connection.execute(f"SELECT {call} FROM catalog{where}")


def test_an_older_catalog_decodes_by_its_own_flags(old: Path) -> None:
    sql = "SELECT DISTINCT flag_names(flags) AS names, flag_set('NOTHING') AS nothing FROM catalog"
    assert {(*row["names"], row["nothing"]) for row in query(old, sql).to_pylist()} == {
        ("NOTHING", True),
        ("FEW_PIXELS", False),
        (False,),
    }
    with pytest.raises(InputError, match="no flag 'NO_RESULT'; flags here: NOTHING, FEW_PIXELS"):
        query(old, "SELECT flag_set('NO_RESULT') FROM catalog")
    row = open_catalog(old).to_arrow().slice(0, 1).to_pylist()[0] | {"flags": 5, "targetid": FIRST_ID}
    shown = show.explained(row, open_catalog(old).manifest)
    assert {"flag NOTHING", "flag FEW_PIXELS"} <= {*shown.columns[0].cells}


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ([], {flag.name: flag.value for flag in FLAGS}),
        ([{"name": "LOW_SNR", "severity": "warn", "text": ""}], {"LOW_SNR": 512}),
        ([{"name": 'it\'s "odd"', "bit": 3, "severity": "info", "text": ""}], {'it\'s "odd"': 8}),
        (
            [{"name": "A", "bit": 99, "severity": "info", "text": ""}],
            {flag.name: flag.value for flag in FLAGS},
        ),
    ],
)
def test_flags_come_from_the_manifest_where_it_has_them(flags: Any, found: dict[str, int]) -> None:
    manifest: Any = {"flags": flags}
    assert flags_of(manifest) == found
    with duckdb.connect() as connection:
        define(connection, manifest, ["ra", "dec", "flags", "flag_bad"])
        quoted = next(iter(found)).replace("'", "''")
        assert connection.execute(
            f"SELECT flag_set({next(iter(found.values()))}, '{quoted}')"
        ).fetchall() == [(True,)]
        with pytest.raises(duckdb.BinderException, match="label teff"):
            connection.execute("SELECT good('teff') FROM (SELECT true AS flag_bad)")
