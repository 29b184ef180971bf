"""[[auxiliary]] from a spec to a catalog: photometry, parallax and zero-point of RVS stars."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from zero_point import zpt

from catalogs import open_catalog, verify
from engine.plan import make_plan
from engine.spec import Profile, RunSpec, SurveySpec
from jobs.run import run
from tests.bundles import write_bundle
from tests.conftest import SAMPLING
from tests.flows.bytes import fingerprint
from tests.flows.catalogs import has

LOCAL = Profile(runtime="local")
PHOTOMETRY = {
    "phot_g_mean_mag": "g",
    "phot_bp_mean_mag": "bp",
    "phot_rp_mean_mag": "rp",
    "tmass_j": "j",
    "tmass_h": "h",
    "tmass_ks": "ks",
    "wise_w1": "w1",
    "wise_w2": "w2",
}
ASTROMETRY = {"parallax": "plx", "ecl_lat": "lat", "astrometric_params_solved": "solved"} | {
    name: name for name in ("nu_eff_used_in_astrometry", "pseudocolour")
}
COLUMNS = PHOTOMETRY | ASTROMETRY | {"ebv": "ebv", "bp_terms": "bp_terms"}

# Places of stars, ordered by id, for which something is not there.
ABSENT, NO_PARALLAX, NO_J, BRIGHT = (0, 1, 2), 3, 4, 5


@pytest.fixture(scope="module")
def spec(simulated: Callable[[str], SurveySpec]) -> SurveySpec:
    return simulated("gaia_rvs")


@pytest.fixture(scope="module")
def ids(spec: SurveySpec) -> np.ndarray:
    return np.sort(pq.read_table(Path(spec.root) / "truth.parquet")["source_id"].to_numpy())


@pytest.fixture(scope="module")
def values(ids: np.ndarray) -> dict[str, Any]:
    """What the table says of every star, with values that lack in places."""
    rng, stars = np.random.default_rng(4), len(ids)
    magnitudes = {name: rng.uniform(9, 14, stars) for name in PHOTOMETRY.values()}
    magnitudes["j"][NO_J] = -9999.0
    # Brighter than any star that the zero-point was fitted to.
    magnitudes["g"][BRIGHT] = 5.0
    six = np.arange(stars) % 2 == 0
    return magnitudes | {
        "source_id": ids,
        "plx": pa.array(rng.uniform(0.5, 10, stars), mask=np.arange(stars) == NO_PARALLAX),
        "lat": rng.uniform(-80, 80, stars),
        "solved": np.where(six, 95, 31).astype(np.int8),
        "nu_eff_used_in_astrometry": pa.array(rng.uniform(1.2, 1.8, stars), mask=six),
        "pseudocolour": pa.array(rng.uniform(1.3, 1.7, stars), mask=~six),
        "ebv": np.where(np.arange(stars) % 3 == 0, 0.0, 0.1),
        "bp_terms": list(rng.normal(size=(stars, 5))),
    }


@pytest.fixture(scope="module")
def table(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table as Parquet, unsorted, without some stars, and with one that no spectrum has."""
    path = tmp_path_factory.mktemp("auxiliary") / "photometry.parquet"
    whole = pa.table(values)
    rows = np.random.default_rng(5).permutation(np.arange(len(ABSENT), len(whole)))
    stranger = whole.slice(len(ABSENT), 1).set_column(
        whole.column_names.index("source_id"), "source_id", pa.array([77])
    )
    pq.write_table(pa.concat_tables([whole.take(rows), stranger]), path)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(
        tmp_path_factory.mktemp("bundle") / "random",
        sampling=SAMPLING,
        architecture="rvs_mlp",
        hidden=(16, 8),
    )


@pytest.fixture
def joined(spec: SurveySpec, bundle: Path, tmp_path: Path) -> Callable[..., RunSpec]:
    """A spec of all RVS stars with tables beside them."""

    def make(*tables: Path, out: str = "catalogs", columns: dict[str, str] = COLUMNS) -> RunSpec:
        section = {"key": "source_id", "columns": columns, "missing": [-9999.0]}
        plain = {
            "survey": spec,
            "auxiliary": [section | {"path": path} for path in tables],
            "model": {"bundle": bundle},
            "sampling": SAMPLING,
            "tasks": {"rows": 20},
            "catalog": {"name": "rvs", "version": "1", "root": tmp_path / out},
        }
        return RunSpec.model_validate(plain)

    return make


@pytest.fixture
def rows(joined: Callable[..., RunSpec], table: Path, ids: np.ndarray) -> pa.Table:
    """The catalog of a run with the table, ordered by id."""
    report = run(make_plan(joined(table)), LOCAL)
    assert verify(report.catalog).rows == report.committed.rows == len(ids)
    found = open_catalog(report.catalog).to_arrow().sort_by("source_id")
    assert found["source_id"].to_pylist() == ids.tolist()
    return found


def test_values_of_the_table_appear_in_the_catalog(rows: pa.Table, values: dict[str, Any]) -> None:
    known = np.arange(len(rows)) >= len(ABSENT)
    for ours, theirs in (PHOTOMETRY | ASTROMETRY | {"ebv": "ebv"}).items():
        expected = pa.array(values[theirs]).to_pylist()
        for row, (found, true) in enumerate(zip(rows[ours].to_pylist(), expected, strict=True)):
            lacks = not known[row] or true is None or true == -9999.0
            assert found == (None if lacks else pytest.approx(true, rel=1e-6)), (ours, row)
    assert "bp_terms" not in rows.column_names, "arrays are for models; a catalog holds none"
    # 0 is a value.
    assert (rows["ebv"].to_numpy() == 0).sum() > 10


def test_what_is_missing_is_null_and_flagged_and_counted(rows: pa.Table) -> None:
    flagged = np.flatnonzero(has(rows, "AUXILIARY_MISSING")).tolist()
    assert flagged == [*ABSENT, NO_PARALLAX, NO_J]
    counted = rows["auxiliary_missing"].to_pylist()
    assert [counted[row] for row in flagged] == [*[len(COLUMNS)] * len(ABSENT), 1, 1]
    assert sum(counted) == len(COLUMNS) * len(ABSENT) + 2
    assert rows["parallax"][NO_PARALLAX].as_py() is None
    assert rows["tmass_j"][NO_J].as_py() is None
    assert all(rows[name][0].as_py() is None for name in (*PHOTOMETRY, *ASTROMETRY))
    assert rows["flag_warn"].to_numpy()[flagged].all()
    assert rows["teff"].null_count == 0, "labels do not wait for what no network asked for"


def test_the_zero_point_is_that_of_its_authors(rows: pa.Table, values: dict[str, Any]) -> None:
    zpt.load_tables()
    known = [row for row in range(len(rows)) if row not in (*ABSENT, BRIGHT)]
    inputs = ("g", "nu_eff_used_in_astrometry", "pseudocolour", "lat", "solved")
    g, nu_eff, colour, latitude, solved = (
        np.array(pa.array(values[name]).to_pylist(), float)[known] for name in inputs
    )
    theirs = zpt.get_zpt(g, nu_eff, colour, latitude, solved)
    found = rows["parallax_zero_point"].to_numpy()
    assert found[known] == pytest.approx(theirs, abs=1e-6)
    assert np.isnan(found[[*ABSENT, BRIGHT]]).all()
    assert rows["parallax_zero_point"].null_count == len(ABSENT) + 1
    # The star is not at fault, nor is the table.
    assert not has(rows, "AUXILIARY_MISSING")[BRIGHT]


def test_the_labels_are_those_without_a_table(rows: pa.Table, joined: Callable[..., RunSpec]) -> None:
    report = run(make_plan(joined(out="bare")), LOCAL)
    bare = open_catalog(report.catalog).to_arrow().sort_by("source_id")
    for name in ("teff", "e_teff", "logg", "mg_fe"):
        assert rows[name].equals(bare[name])
    assert bare["phot_g_mean_mag"].null_count == len(bare)
    assert "tmass_j" not in bare.column_names
    assert not has(bare, "AUXILIARY_MISSING").any()


def test_another_content_is_another_plan_and_another_place_is_not(
    joined: Callable[..., RunSpec], table: Path, tmp_path: Path
) -> None:
    plan = make_plan(joined(table))
    (tmp_path / "elsewhere.parquet").write_bytes(table.read_bytes())
    assert make_plan(joined(tmp_path / "elsewhere.parquet")).digest == plan.digest
    content = pq.read_table(table)
    magnitude = content["g"].to_numpy().copy()
    magnitude[11] += 0.001
    at = content.column_names.index("g")
    pq.write_table(content.set_column(at, "g", pa.array(magnitude)), tmp_path / "changed.parquet")
    changed = make_plan(joined(tmp_path / "changed.parquet"))
    assert changed.digest != plan.digest
    assert changed.work_digest != plan.work_digest, "nothing of the old run may be taken over"
    fewer = make_plan(joined(table, columns=PHOTOMETRY))
    assert fewer.digest not in (plan.digest, changed.digest)


def test_a_table_in_two_halves_gives_the_same(
    rows: pa.Table, joined: Callable[..., RunSpec], table: Path, tmp_path: Path
) -> None:
    content, half = pq.read_table(table), tmp_path / "halves"
    half.mkdir()
    pq.write_table(content.slice(20), half / "a.parquet")
    pq.write_table(content.slice(0, 20), half / "b.parquet")
    report = run(make_plan(joined(half, out="halves-out")), LOCAL)
    found = open_catalog(report.catalog).to_arrow().sort_by("source_id")
    assert len(found) == len(rows)
    for name in (*PHOTOMETRY, *ASTROMETRY, "parallax_zero_point", "auxiliary_missing", "flags"):
        assert found[name].equals(rows[name])


@pytest.mark.ray
def test_workers_on_ray_give_the_same_bytes(
    ray_session: None, joined: Callable[..., RunSpec], table: Path
) -> None:
    here = run(make_plan(joined(table, out="here")), LOCAL)
    there = run(make_plan(joined(table, out="there")), Profile(actors=2))
    assert fingerprint(there.catalog) == fingerprint(here.catalog)
    assert has(open_catalog(there.catalog).to_arrow(), "AUXILIARY_MISSING").sum() == len(ABSENT) + 2
