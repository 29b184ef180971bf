"""From a survey and a label table to a training set on disk: the right stars, once, whole and reusable."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from engine.errors import PlanError, RunError, ShardUnavailable
from engine.spec import SurveySpec
from engine.surveys import SURVEYS
from engine.train import train
from engine.train.crossmatch import Crossmatch, crossmatch, set_place
from engine.train.spec import TrainSpec
from engine.train.store import load, open_store, rows
from engine.types import Task
from jobs.crossmatch import outcome, run_crossmatch
from tests.flows.star_field import COLUMNS, CUTS, SKY, Field, field, spec

__all__ = ["field", "spec"]


def made(spec: TrainSpec) -> Crossmatch:
    return crossmatch(spec, on_shard=Mock())


def table_of(found: Crossmatch) -> pa.Table:
    files = [pq.read_table(found.store.folder / name) for name in found.store.about["files"]]
    return pa.concat_tables(files)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_by_id_and_by_sky_the_same_stars_have_the_same_labels(
    spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    by_id = made(spec())
    by_sky = made(spec(labels={"key": None, "sky": SKY}, training_set={"out": tmp_path / "sky"}))
    keys = ["targetid", "program", "teff", "e_teff", "known_fe_h", "snr"]
    one, other = (table_of(each).select(keys) for each in (by_id, by_sky))
    assert one.equals(other)
    assert len(one) > 150
    assert by_id.store.about["steps"] == by_sky.store.about["steps"]
    still = SKY | dict.fromkeys(("pm_ra", "pm_dec", "epoch", "survey_epoch"))
    steps = made(spec(labels={"key": None, "sky": still}, bundle={"out": tmp_path / "still"})).store.about[
        "steps"
    ]
    assert steps[1]["spectra"] < 0.2 * by_id.store.about["steps"][1]["spectra"]


def test_every_step_removes_what_it_says(spec: Callable[..., TrainSpec], field: Field) -> None:
    found = made(spec())
    table, about = table_of(found), found.store.about
    steps = {step["name"]: step for step in about["steps"]}
    order = ["spectra", "with_labels", "without_doubts", *CUTS, "min_snr", "min_good_fraction", "inputs"]
    assert [*steps] == order
    left = [step["spectra"] for step in about["steps"]]
    assert left == sorted(left, reverse=True)
    assert (
        left[-1] == len(table) == len(found.store) == sum(part["spectra"] for part in about["parts"].values())
    )
    labelled = field.truth.filter(pc.is_in(field.truth["targetid"], field.stars["id"]))
    assert steps["with_labels"]["spectra"] == len(labelled)
    assert steps["with_labels"]["stars"] == len(field.stars)
    assert steps["inputs"]["stars"] == sum(part["stars"] for part in about["parts"].values())
    assert np.all(table["teff"].to_numpy() < 6000) and np.all(table["snr"].to_numpy() > 12)
    clear = field.stars.filter(pa.array(field.stars["STARFLAG"].to_numpy() == 0))["id"]
    assert pc.all(pc.is_in(table["targetid"], clear)).as_py()
    flagged = field.stars.filter(pa.array(field.stars["FE_H_FLAG"].to_numpy() > 0))["id"]
    hidden = pc.is_in(table["targetid"], flagged).to_numpy()
    assert np.array_equal(table["known_fe_h"].to_numpy(), ~hidden)
    assert hidden.any() and pc.all(table["known_teff"]).as_py()


@pytest.mark.parametrize("way", ["id", "sky"])
def test_no_star_is_in_two_parts_and_the_best_spectrum_can_be_kept(
    spec: Callable[..., TrainSpec], tmp_path: Path, way: str
) -> None:
    labels = {"key": None, "sky": SKY} if way == "sky" else {}
    no_cuts: dict[str, Any] = dict.fromkeys(CUTS, "teff > 0") | {"min_snr": 0.0}
    every = table_of(made(spec(labels=labels, cuts=no_cuts))).to_pandas()
    counts = every.groupby("targetid").agg(n=("snr", "size"), parts=("part", "nunique"), snr=("snr", "max"))
    assert (counts["n"] > 1).sum() >= 3
    assert (counts["parts"] == 1).all()
    cuts = no_cuts | {"keep": "best_snr", "best_snr": "snr"}
    best = made(spec(labels=labels, cuts=cuts, bundle={"out": tmp_path / "best"}))
    kept = table_of(best).to_pandas().set_index("targetid")
    assert kept.index.is_unique
    assert kept["snr"].to_dict() == counts["snr"].to_dict()
    assert best.store.about["steps"][-1]["spectra"] == len(kept) == best.store.about["counts"]["after_cuts"]
    assert sorted(path.name for path in best.store.folder.iterdir()) == [
        "set.json",
        *best.store.about["files"],
    ]


def test_what_another_pipeline_says_travels_with_the_stars(
    spec: Callable[..., TrainSpec], field: Field
) -> None:
    """By ids and into the set; a cut cannot go by it; another column of it makes another set."""
    found = made(spec(labels={"reference": {"teff": "TEFF_RVS"}}))
    table, stars = table_of(found), load(found.store)
    theirs = dict(zip(field.stars["id"].to_pylist(), field.stars["TEFF_RVS"].to_pylist(), strict=True))
    expected = np.array([theirs[star] for star in table["targetid"].to_pylist()], np.float32)
    np.testing.assert_array_equal(table["reference_teff"].to_numpy(), expected)
    assert 0.5 < np.isfinite(expected).mean() < 0.8
    assert found.store.references == ("teff",)
    assert stars.reference_NL is not None and stars.ids is not None
    np.testing.assert_array_equal(stars.reference_NL[:, 0], expected)
    assert np.isnan(stars.reference_NL[:, 1]).all()
    assert stars.ids["targetid"] == table["targetid"] and stars.ids["star"] == table["star"]
    test = stars.part("test")
    assert test.ids is not None and test.reference_NL is not None
    assert len(test.ids) == len(test) == len(test.reference_NL)
    with pytest.raises(PlanError, match="there is no column _reference_teff"):
        made(spec(labels={"reference": {"teff": "TEFF_RVS"}}, cuts={"odd": "_reference_teff > 0"}))
    assert made(spec(labels={"reference": {"teff": "TEFF_RVS + 1"}})).replaced == ("labels",)


def test_a_finished_set_is_taken_as_it_is(
    spec: Callable[..., TrainSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made(spec())
    before = files_of(first.store.folder)
    elsewhere = made(spec(training_set={"out": tmp_path / "again"}))
    assert files_of(elsewhere.store.folder) == before
    blind = replace(SURVEYS["desi"], read=Mock(side_effect=AssertionError("a spectrum was read")))
    monkeypatch.setitem(SURVEYS, "desi", blind)
    again = made(spec())
    assert (again.reused, first.reused) == (True, False)
    report = train(spec(), on_shard=Mock(), on_epoch=Mock())
    assert report.counts["after_cuts"] == len(first.store)
    assert files_of(first.store.folder) == before


def test_rows_come_in_any_order_and_only_their_groups_are_read(spec: Callable[..., TrainSpec]) -> None:
    store = open_store(made(spec()).store.folder)
    every = load(store)
    assert len(store.starts) > 3
    wanted = np.random.default_rng(0).permutation(len(store))[:100]
    for indices in (wanted, np.repeat(wanted[:2], 3), np.array([], int)):
        some = rows(store, indices)
        for name in every.__slots__:
            if name not in ("ids", "reference_NL"):
                np.testing.assert_array_equal(getattr(some, name), getattr(every, name)[indices])
        assert some.reference_NL is None
        assert every.ids is not None
        if len(indices):
            assert some.ids == every.ids.take(indices)
    assert rows(store, wanted, pixels=False).flux_NP.shape == (100, 0)
    with pytest.raises(IndexError):
        rows(store, np.array([len(store)]))


def test_another_spec_replaces_the_set_beside_its_bundle_but_none_that_was_named(
    spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    made(spec())
    other = made(spec(cuts={"hot": "teff < 5500"}))
    assert (other.reused, other.replaced) == (False, ("cuts",))
    named = {"out": tmp_path / "named"}
    made(spec(training_set=named))
    with pytest.raises(PlanError, match=r"stars of another spec \(other labels, split\)"):
        made(spec(training_set=named, split={"seed": 5}, labels={"flagged": {}}))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(PlanError, match="holds no training set; choose a new place"):
        made(spec(training_set={"out": tmp_path / "mine"}))
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_an_interrupted_set_leaves_nothing(spec: Callable[..., TrainSpec], tmp_path: Path) -> None:
    on_shard = Mock(side_effect=[None, None, KeyboardInterrupt])
    with pytest.raises(KeyboardInterrupt):
        crossmatch(spec(), on_shard=on_shard)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


KILLED = """
import os, sys
from pathlib import Path
from engine.train.crossmatch import crossmatch
from engine.train.spec import TrainSpec
spec = TrainSpec.model_validate_json(Path(sys.argv[1]).read_text())
crossmatch(spec, on_shard=lambda done, of: os._exit(9) if done == of else None)
"""


def test_a_killed_set_is_no_set_and_the_next_one_cleans_up(
    spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    (tmp_path / "spec.json").write_text(spec().model_dump_json(by_alias=True, exclude_unset=True))
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "spec.json")], check=False, env=os.environ
    )
    assert ended.returncode == 9
    place = set_place(spec())
    assert not place.exists()
    assert list(tmp_path.glob(f"{place.name}.*part-*"))
    assert len(made(spec()).store) > 0
    assert not list(tmp_path.glob(f"{place.name}.*part-*"))


def test_a_full_disk_is_a_message(
    spec: Callable[..., TrainSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr("engine.train.store_write.pq.ParquetWriter.write_table", full)
    with pytest.raises(
        RunError, match=r"cannot be written to .*bundle-stars.*No space left.*\[training_set\] out"
    ):
        made(spec())
    assert not set_place(spec()).exists()


def test_tasks_that_could_not_be_reached_are_tried_again(
    spec: Callable[..., TrainSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    desi = SURVEYS["desi"]

    def lame(asked: SurveySpec, task: Task) -> pa.Table:
        if task.shard.path.endswith(lost):
            raise ShardUnavailable("the disk is away")
        return desi.read(asked, task)

    [lost, *_] = sorted(path.name for path in Path(spec().survey.root).rglob("coadd*"))
    monkeypatch.setitem(SURVEYS, "desi", replace(desi, read=lame))
    less = made(spec())
    assert less.store.about["counts"]["unreadable_tasks"] == less.store.about["unavailable_tasks"] >= 1
    assert "tasks could not be read" in outcome(less)
    monkeypatch.setitem(SURVEYS, "desi", desi)
    whole = made(spec())
    assert (whole.reused, len(whole.store) > len(less.store)) == (False, True)
    assert made(spec()).reused


def test_the_command_shows_what_each_cut_removes_and_what_cannot_be_learnt(
    spec: Callable[..., TrainSpec], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.crossmatch.CONSOLE", Console(stderr=True, width=120))
    monkeypatch.setattr("engine.train.checks.LEAST_STARS", 5)
    found = run_crossmatch(spec())
    said = capsys.readouterr().err
    assert all(words in said for words in ("STARFLAG & 0b1001 == 0", "good fraction", "spectra of stars ("))
    assert f"{found.store.about['steps'][-1]['spectra']:,}" in said
    assert "Was already made" in outcome(run_crossmatch(spec()))
    constant = {"columns": COLUMNS | {"fe_h": "FE_H * 0 + 0.3"}, "flagged": {}}
    with pytest.raises(PlanError, match=r"label fe_h is 0\.3 for each of the"):
        run_crossmatch(spec(labels=constant))


@pytest.mark.parametrize("harm", ["short", "gone", "set.json"])
def test_a_damaged_set_is_refused(spec: Callable[..., TrainSpec], harm: str) -> None:
    folder = made(spec()).store.folder
    victim = folder / ("set.json" if harm == "set.json" else "stars-00000.parquet")
    if harm == "gone":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-9])
    with pytest.raises(PlanError, match=r"is damaged|cannot be read"):
        made(spec())


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"cuts": {"odd": "colour > 1"}}, r"cuts\.odd: there is no column colour\. Ours: .*TEFF, TEFF_ERR"),
        ({"cuts": {"odd": "teff"}}, r"cuts\.odd: 'teff' is .*, no condition"),
        ({"cuts": {"odd": "1 > 0"}}, r"cuts\.odd: '1 > 0' names no column"),
        ({"cuts": {"odd": "teff > "}}, r"cuts\.odd: 'teff > ' is no expression"),
        ({"cuts": {"odd": "program > 3"}}, r"cuts\.odd: 'program > 3' cannot be computed"),
        ({"cuts": {"keep": "best_snr", "best_snr": "SNR"}}, r"cuts\.best_snr: there is no column SNR"),
        ({"cuts": {"cold": "teff < 10"}}, r"no spectrum is left .*0 cold.*nothing passes cold"),
        ({"cuts": {"min_snr": 1e6}}, r"no spectrum is left .*check \[cuts\]"),
        (
            {"labels": {"key": ["gaia_source_id"], "columns": COLUMNS | {"gaia_source_id": "STARFLAG"}}},
            "repeat a key",
        ),
        (
            {"labels": {"columns": COLUMNS | {"targetid": "NOBODY"}}},
            r"no spectrum is left .*0 with_labels.*: check \[labels\] key against the survey: no spectrum of "
            r"it is among the \d+ rows of ",
        ),
        ({"labels": {"reference": {"fe_h": "FE_H_RVS"}}}, "has no column FE_H_RVS; it has id, RA"),
        (
            {"labels": {"key": None, "sky": {"radius_arcsec": 1, "ra": "TEFF", "dec": "DEC"}}},
            "has a position",
        ),
        (
            {"labels": {"key": None, "sky": {"radius_arcsec": 1, "ra": "PMRA", "dec": "DEC"}}},
            r"check \[labels\] sky",
        ),
    ],
)
def test_what_cannot_be_matched_is_refused_and_leaves_nothing(
    spec: Callable[..., TrainSpec], sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        made(spec(**sections))
    assert not set_place(spec()).exists()


@pytest.mark.parametrize("loss", ["mse", "chi2"])
def test_labels_without_errors_are_learnt_where_the_loss_needs_none(
    spec: Callable[..., TrainSpec], monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    monkeypatch.setattr("engine.train.checks.LEAST_STARS", 5)
    columns = {name: text for name, text in COLUMNS.items() if not name.startswith("e_")}
    bare = spec(labels={"columns": columns}, cuts={"bright": "snr > 12"}, training={"loss": loss})
    if loss == "chi2":
        with pytest.raises(PlanError, match=r"0 have an e_teff.*error_floor\.teff"):
            train(bare, on_shard=Mock(), on_epoch=Mock())
        return
    report = train(bare, on_shard=Mock(), on_epoch=Mock())
    assert all(np.isfinite(epoch.train_loss) for epoch in report.history)
    assert (report.bundle / "card.toml").exists()


def test_the_set_says_where_it_comes_from(spec: Callable[..., TrainSpec]) -> None:
    about = json.loads((made(spec()).store.folder / "set.json").read_text())
    assert len(about["asked"]["labels"]["sha256"]) == len(about["asked"]["files"]["sha256"]) == 64
    assert about["asked"]["cuts"]["order"] == [*CUTS]
    assert about["versions"]["abundant"]
    assert "path" not in about["asked"]["labels"] and "root" not in about["asked"]["survey"]
