"""What no network should label is told: by a bundle of DESI, and by one of Gaia RVS."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engine.columns import SCORES
from engine.flags import BY_NAME
from engine.models.bundle import load_card
from engine.simulate import SIMULATORS, simulate_desi
from engine.spec import SurveySpec
from engine.surveys import survey_of
from engine.types import Task
from tests.alarms import BITS, alarms, labeller
from tests.flows.conftest import Trained
from tests.flows.small_bundles import small_bundle
from tests.strange import desi_kinds, healthy, hot, of_rvs, rippled, seen, starlight

LEAST_FOUND, MOST_FALSE = 0.95, 0.05
ROWS = 60
THREE_SIGMA = 3.0


def with_chance(share: float, rows: int) -> float:
    """What 3 sigma of a binomial adds to a share."""
    return share + THREE_SIGMA * float(np.sqrt(share * (1 - share) / rows))


@pytest.fixture(scope="module")
def desi(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, pa.Table]:
    """Catalog rows of stars that the training never saw, and of what is strange, by kind."""
    root = tmp_path_factory.mktemp("strange") / "survey"
    simulate_desi(root, stars=400, seed=12, resolution=False)
    rows, labels_NL = healthy(root)
    base, base_NL = rows.slice(0, ROWS), labels_NL[:ROWS]
    tables = {"held out": rows} | desi_kinds(base, base_NL, seed=3)
    tables["3 sigma hotter"] = hot(base, base_NL, seed=8)
    tables["ripples"] = rippled(seen(base, starlight(base, base_NL), seed=9), amplitude=0.05, seed=10)
    spec = SurveySpec.model_validate({"name": "desi", "root": root, "select": {"by": "all"}})
    label = labeller(trained.report.bundle, spec)
    return {kind: label(table) for kind, table in tables.items()}


def test_every_score_has_a_threshold_on_the_card(trained: Trained) -> None:
    assert set(load_card(trained.report.bundle).thresholds) == {column.name for column in SCORES}


def test_few_held_out_stars_are_flagged(desi: Mapping[str, pa.Table]) -> None:
    """A threshold from 240 held-out stars is itself uncertain, by about half of its false alarms."""
    found = alarms(desi["held out"])
    assert found.any < with_chance(1.5 * MOST_FALSE, found.rows)
    assert max(found.by_bit.values()) < 0.06


def test_nearly_all_strange_spectra_are_flagged(desi: Mapping[str, pa.Table]) -> None:
    missed = {}
    for kind, rows in desi.items():
        if kind == "held out":
            continue
        found = alarms(rows, least_snr=-np.inf if kind == "noise around zero" else 10.0)
        assert found.rows >= 0.8 * ROWS
        if found.any < LEAST_FOUND:
            missed[kind] = found
    assert not missed


def test_ripples_are_told_by_their_own_bit(desi: Mapping[str, pa.Table]) -> None:
    assert alarms(desi["ripples"]).by_bit["INSTRUMENT_WIGGLES"] > LEAST_FOUND


def test_gaia_rvs_tells_strange_spectra_too(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    bundle = small_bundle("gaia_rvs", tmp_path_factory.getbasetemp())
    SIMULATORS["gaia_rvs"](tmp_path, stars=320, seed=77)
    spec = SurveySpec.model_validate({"name": "gaia_rvs", "root": tmp_path, "select": {"by": "all"}})
    survey = survey_of(spec)
    tasks = (Task(task_id="all", shard=s, start=0, stop=s.rows) for s in survey.list_shards(spec))
    rows = pa.concat_tables([survey.read(spec, task) for task in tasks]).combine_chunks()
    label = labeller(bundle, spec)
    usual = alarms(label(rows))
    assert usual.any < with_chance(2 * MOST_FALSE, usual.rows)
    found = {kind: alarms(label(table)) for kind, table in of_rvs(rows.slice(0, 128)).items()}
    assert not {kind: alarm for kind, alarm in found.items() if alarm.any < LEAST_FOUND}


def test_bits_of_support_stay_within_a_signed_column() -> None:
    assert all(BY_NAME[name].bit <= 30 for name in BITS)
