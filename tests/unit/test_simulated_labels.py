"""The labels of simulated stars: given or drawn, and what cannot be simulated is refused."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from engine.simulate.labels import LABELS, draw_labels
from engine.simulate.plan import MOST_STARS, plan_files
from tests.unit.simulated import FILES, SEED, simulate


def test_given_labels_are_used_in_order(tmp_path):
    given_rows = 30
    teff = np.linspace(4000, 6500, given_rows)
    table = pa.table({"teff": teff, "logg": [4.5] * given_rows, "fe_h": np.linspace(-1, 0.3, given_rows)})
    survey = simulate(tmp_path, stars=20, stars_per_file=20, labels=table)
    truth = survey.truth(FILES[0])
    star = truth["kind"] == "star"
    np.testing.assert_allclose(truth["teff"][star], teff[:20], rtol=1e-6)
    np.testing.assert_array_equal(truth["mg_h"][star], truth["fe_h"][star])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"teff": [5000.0] * 20, "logg": [4.5] * 20}, "lacks fe_h"),
        ({"teff": [5000.0] * 9, "logg": [4.5] * 9, "fe_h": [0.0] * 9}, "9 rows for 20 stars"),
        (
            {"teff": [5000.0] * 20, "logg": [4.5] * 20, "fe_h": [None] + [0.0] * 19},
            "fe_h of row 0 is missing",
        ),
        (
            {"teff": [5000.0] * 19 + [5e4], "logg": [4.5] * 20, "fe_h": [0.0] * 20},
            "teff of row 19 is 50000, outside",
        ),
        ({"teff": ["5000"] * 20, "logg": [4.5] * 20, "fe_h": [0.0] * 20}, "teff is string, not numbers"),
        ({"teff": [5000] * 20, "logg": pa.nulls(20), "fe_h": [0.0] * 20}, "logg is null, not numbers"),
    ],
)
def test_unusable_labels_are_refused_before_anything_is_written(tmp_path, columns, message):
    with pytest.raises(InputError, match=message):
        simulate(tmp_path / "new", stars=20, stars_per_file=20, labels=pa.table(columns))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"stars": 0},
        {"stars": -5},
        {"stars": 10**9},
        {"stars_per_file": 0},
        {"stars_per_file": MOST_STARS + 1},
        {"seed": -1},
    ],
)
def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path, wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} = "):
        simulate(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    names = ["teff", "logg", "fe_h", "fe_h"]
    table = pa.Table.from_arrays([pa.array([5000.0] * 20)] * 4, names=names)
    with pytest.raises(InputError, match="fe_h is there twice"):
        simulate(tmp_path / "new", stars=20, stars_per_file=20, labels=table)


def test_a_root_that_is_a_file_or_has_damaged_settings_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file: choose another folder"):
        simulate(tmp_path / "file")
    (tmp_path / "simulation.json").write_text("{")
    with pytest.raises(InputError, match=r"simulation\.json is damaged"):
        simulate(tmp_path)


def test_a_root_with_another_survey_is_refused(tmp_path):
    simulate(tmp_path / "mine", stars=5, stars_per_file=5)
    before = (tmp_path / "mine" / "truth.parquet").read_bytes()
    with pytest.raises(InputError, match="other seed"):
        simulate(tmp_path / "mine", stars=5, stars_per_file=5, seed=SEED + 1)
    assert (tmp_path / "mine" / "truth.parquet").read_bytes() == before
    (tmp_path / "real" / "healpix").mkdir(parents=True)
    with pytest.raises(InputError, match="not simulated here"):
        simulate(tmp_path / "real")


@given(stars=st.integers(1, 5000), per_file=st.integers(1, 700))
def test_plans_cover_every_star_once(stars, per_file):
    plans = list(plan_files(stars, per_file))
    assert sum(plan.stars for plan in plans) == stars
    assert len({plan.stem for plan in plans}) == len(plans)
    own = [(plan.first_own, plan.first_own + plan.stars - plan.shared) for plan in plans]
    assert all(before[1] == after[0] for before, after in pairwise(own))
    for plan in plans:
        assert (plan.twin is None) == (plan.shared == 0)
        assert plan.twin is None or (plan.twin.healpix, plan.twin.program) == (plan.healpix, "bright")
        assert plan.twin is None or plan.shared <= plan.twin.stars


def test_drawn_labels_show_two_sequences_and_dwarfs_and_giants():
    table = draw_labels(np.random.default_rng(5), 4000)
    values = dict(zip(LABELS, table.T, strict=True))
    assert (values["teff"].min(), values["teff"].max()) >= (3600, 6000) and values["teff"].max() <= 7200
    assert 0.2 < np.mean(values["logg"] < 3.5) < 0.6
    disc = np.abs(values["fe_h"] + 0.5) < 0.1
    ratio = (values["mg_h"] - values["fe_h"])[disc]
    between = np.mean((ratio > 0.16) & (ratio < 0.22))
    assert np.mean(ratio < 0.16) > 2 * between and np.mean(ratio > 0.22) > 2 * between
