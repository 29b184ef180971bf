"""Simulated surveys, all alike: the same bytes, spectra of their labels, and what is refused."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from engine.errors import InputError
from engine.simulate import SIMULATORS
from engine.simulate.lines import air_to_vacuum
from engine.simulate.surveys import galah, giraffe, rave
from engine.simulate.surveys.gaia_rvs import WINDOW as RVS
from engine.simulate.window import observe_window, synthesize_window
from engine.types import Waves
from jobs.cli import app
from jobs.simulate import run_simulation
from tests.unit.simulated_surveys import READERS, STARS, Seen, tensor


def files_of(root: Path) -> dict[str, str]:
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_every_survey_with_a_reader_can_be_simulated() -> None:
    assert sorted(SIMULATORS) == sorted(["desi", *READERS])


@pytest.mark.parametrize("name", READERS)
def test_the_same_seed_makes_the_same_bytes_and_another_does_not(name: str, tmp_path: Path) -> None:
    told: list[int] = []
    SIMULATORS[name](tmp_path / "a", stars=12, seed=5, on_file=lambda _, stars: told.append(stars))
    SIMULATORS[name](tmp_path / "b", stars=12, seed=5)
    SIMULATORS[name](tmp_path / "c", stars=12, seed=6)
    assert sum(told) == 12
    first = files_of(tmp_path / "a")
    assert first == files_of(tmp_path / "b")
    assert not set(first.values()) & set(files_of(tmp_path / "c").values())


@pytest.mark.parametrize("name", READERS)
def test_readers_find_every_star_and_no_problem(name: str, seen: Callable[[str], Seen]) -> None:
    found = seen(name)
    assert found.spectra["read_problem"].null_count == len(found.spectra) == STARS
    keys = [key.name for key in found.survey.keys if key.name in found.truth.column_names]
    theirs, ours = (
        set(zip(*(table[key].to_pylist() for key in keys), strict=True))
        for table in (found.spectra, found.truth)
    )
    assert theirs == ours
    assert len(ours) == STARS
    for column in found.truth.columns:
        if pa.types.is_floating(column.type):
            assert np.isfinite(column.drop_null().to_numpy()).all()


@pytest.mark.parametrize("name", READERS)
def test_most_pixels_are_good_and_as_noisy_as_the_truth_says(name: str, seen: Callable[[str], Seen]) -> None:
    found = seen(name)
    arm = found.survey.arms[-1]
    flux_NP, ivar_NP, mask_NP = found.arm(arm.name)
    good_NP = (ivar_NP > 0) & (mask_NP == 0)
    lit_N = good_NP.any(axis=1)
    assert lit_N.mean() > 0.9
    if name != "gaia_xp":
        signal_NP = np.where(good_NP, flux_NP * np.sqrt(ivar_NP), np.nan)
        ratio_N = np.nanmedian(signal_NP[lit_N], axis=1) / found.true("snr").astype(float)[lit_N]
        assert 0.5 < np.median(ratio_N) < 1.6


@pytest.mark.parametrize("name", ["gaia_rvs", "rave", "giraffe", "galah", "table"])
def test_spectra_are_those_of_their_labels_within_the_noise(name: str, seen: Callable[[str], Seen]) -> None:
    found = seen(name)
    arm = found.survey.arms[min(2, len(found.survey.arms) - 1)]
    window = {
        "gaia_rvs": RVS,
        "rave": rave.WINDOW,
        "giraffe": giraffe.WINDOW,
        "table": giraffe.WINDOW,
        "galah": galah.CAMERAS[2].window,
    }[name]
    flux_NP, ivar_NP, mask_NP = found.arm(arm.name)
    a_li_N = found.true("a_li").astype(float)
    rest_NP = synthesize_window(window, found.labels_NL, a_li_N)
    residuals = []
    for row in range(0, STARS, 7):
        good_P = (ivar_NP[row] > 0) & (mask_NP[row] == 0)
        if not good_P.any():
            continue
        wave_P = (
            tensor(found.spectra, f"wave_{arm.name}")[row] if isinstance(arm.grid, Waves) else arm.grid.wave_P
        )
        wave_P = wave_P if found.survey.medium == "vacuum" else air_to_vacuum(wave_P)
        velocity = found.true("rv")[row] if found.survey.frame == "observed" else 0.0
        model_P = observe_window(window, rest_NP[row : row + 1], np.array([velocity]), wave_P[good_P])[0]
        x_P, ratio_P = np.linspace(-1, 1, good_P.sum()), flux_NP[row][good_P] / model_P
        # Blaze, colour and normalisation are smooth: a cubic takes them away.
        level_P = np.polyval(np.polyfit(x_P, ratio_P, 3, w=model_P * np.sqrt(ivar_NP[row][good_P])), x_P)
        residuals.append((flux_NP[row][good_P] - model_P * level_P) * np.sqrt(ivar_NP[row][good_P]))
    assert np.std(np.concatenate(residuals)) == pytest.approx(1.0, abs=0.05)


def test_given_labels_come_back_in_the_truth(tmp_path: Path) -> None:
    labels = pa.table({"teff": [4500.0, 6100.0], "logg": [2.0, 4.2], "fe_h": [-0.5, 0.1], "a_li": [0.2, 3.1]})
    truth = pq.read_table(SIMULATORS["giraffe"](tmp_path / "s", stars=2, seed=1, labels=labels))
    for name in labels.column_names:
        assert truth[name].to_pylist() == pytest.approx(labels[name].to_pylist())
    assert truth["mg_h"].to_pylist() == pytest.approx([-0.5, 0.1])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"teff": [5000.0], "logg": [4.0]}, "lacks fe_h"),
        ({"teff": [5000.0], "logg": [4.0], "fe_h": [0.0], "a_li": [9.0]}, "a_li"),
        ({"teff": [5000.0], "logg": [4.0], "fe_h": [0.0], "a_li": ["much"]}, "a_li"),
        ({"teff": [5000.0], "logg": [4.0], "fe_h": [0.0], "a_li": [None]}, "a_li"),
    ],
)
def test_unusable_labels_are_refused_before_anything_is_written(
    columns: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        SIMULATORS["rave"](tmp_path / "s", stars=1, seed=1, labels=pa.table(columns))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("stars", "seed"), [(0, 1), (10, -1), (10**9, 1)])
def test_impossible_numbers_are_refused_before_anything_is_written(
    stars: int, seed: int, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"stars|seed"):
        SIMULATORS["table"](tmp_path / "s", stars=stars, seed=seed)
    assert not (tmp_path / "s").exists()


def test_a_folder_keeps_to_one_survey_and_one_kind_of_settings(tmp_path: Path) -> None:
    SIMULATORS["table"](tmp_path / "s", stars=3, seed=1)
    SIMULATORS["table"](tmp_path / "s", stars=3, seed=1)
    for name, stars in (("rave", 3), ("table", 4), ("desi", 3)):
        with pytest.raises(InputError, match="other"):
            SIMULATORS[name](tmp_path / "s", stars=stars, seed=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not simulated here"):
        SIMULATORS["rave"](tmp_path / "mine", stars=3, seed=1)


def test_the_command_lists_what_it_can_simulate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    shown = CliRunner().invoke(app, ["simulate", "--help"]).output
    with pytest.raises(InputError, match="cannot simulate 'lamost'") as refused:
        run_simulation("lamost", tmp_path / "s", stars=3, seed=1, labels=None, resolution=True)
    for name in SIMULATORS:
        assert re.search(rf"\b{name}\b", shown)
        assert name in str(refused.value)
    with pytest.raises(InputError, match="--no-resolution"):
        run_simulation("rave", tmp_path / "s", stars=3, seed=1, labels=None, resolution=False)
    assert not (tmp_path / "s").exists()


def test_the_command_simulates_another_survey(tmp_path: Path) -> None:
    truth = run_simulation("table", tmp_path / "s", stars=3, seed=1, labels=None, resolution=True)
    assert pq.read_table(truth).num_rows == 3
