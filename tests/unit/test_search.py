"""A search: which points are tried, which wins, and that a finished one is not done again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow.parquet as pq
import pytest

from engine.errors import RunError, SpecError
from engine.train.members import Lesson
from engine.train.search import TRIALS, OnTrial, Point, Trial, at, points_of, searched
from engine.train.spec import Search
from tests.small_training import lesson, with_other

RANGES: dict[str, Any] = {
    "training.learning_rate": {"loguniform": [1e-4, 1e-2]},
    "model.hyper.dropout": {"uniform": [0.05, 0.5]},
    "model.hyper.hidden": {"choice": [[16, 8], [32]]},
}


def search(**changes: Any) -> Search:
    return Search.model_validate({"trials": 40, "ranges": RANGES} | changes)


def test_points_follow_from_the_seed_and_fill_their_ranges() -> None:
    points = points_of(search())
    assert points == points_of(search()) != points_of(search(seed=2))
    rates = [point["training.learning_rate"] for point in points]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert 10 < sum(rate < 1e-3 for rate in rates) < 30
    assert {tuple(point["model.hyper.hidden"]) for point in points} == {(16, 8), (32,)}


def test_the_best_point_is_trained_and_all_are_kept(tmp_path: Path) -> None:
    given, points = lesson(tmp_path), points_of(search())
    losses = [abs(point["model.hyper.dropout"] - 0.2) for point in points]
    losses[3] = float("nan")
    trials = [Trial(number=i, epochs=5, validation_loss=loss) for i, loss in enumerate(losses)]
    attempt = Mock(return_value=trials)
    found, told = searched(given, search(), attempt)
    best = min((i for i in range(40) if i != 3), key=lambda i: losses[i])
    assert found.hyper.model_dump()["dropout"] == points[best]["model.hyper.dropout"]
    assert found.settings.learning_rate == points[best]["training.learning_rate"]
    assert (told["trials"], told["best"]) == (40, points[best])
    table = pq.read_table(tmp_path / TRIALS)
    assert len(table) == 40
    assert table["training.learning_rate"].to_pylist() == [p["training.learning_rate"] for p in points]
    assert table["model.hyper.hidden"][0].as_py() == str(points[0]["model.hyper.hidden"])
    again, _ = searched(given, search(), attempt)
    assert again == found
    assert attempt.call_count == 1
    searched(with_other(given, data="other"), search(), attempt)
    searched(given, search(grace=7), attempt)
    assert attempt.call_count == 3


def test_a_search_that_was_killed_does_what_it_had_not_done(tmp_path: Path) -> None:
    """Trials that ended are kept whatever their order; the others, and those alone, are tried next."""
    given, tried = lesson(tmp_path), list[list[int]]()
    lives = iter([3, 20, 40])

    def attempt(_: Lesson, __: Search, points: Mapping[int, Point], on_trial: OnTrial) -> list[Trial]:
        left = next(lives)
        tried.append(sorted(points))
        trials = [Trial(number=i, epochs=5, validation_loss=1 + abs(i - 25)) for i in sorted(points)[::-1]]
        for trial in trials[:left]:
            on_trial(trial)
        if left < len(trials):
            raise KeyboardInterrupt
        return trials

    for kept in (3, 23):
        with pytest.raises(KeyboardInterrupt):
            searched(given, search(), attempt)
        assert len(pq.read_table(tmp_path / TRIALS)) == kept
    _, told = searched(given, search(), attempt)
    assert tried == [list(range(40)), list(range(37)), list(range(17))]
    table = pq.read_table(tmp_path / TRIALS)
    assert table["trial"].to_pylist() == list(range(40))
    assert table["validation_loss"].to_pylist() == [1.0 + abs(i - 25) for i in range(40)]
    assert (told["trials"], told["best"]) == (40, points_of(search())[25])


def test_trials_of_another_search_are_no_record_and_a_damaged_one_neither(tmp_path: Path) -> None:
    given, seen = lesson(tmp_path), list[int]()

    def attempt(_: Lesson, __: Search, points: Mapping[int, Point], on_trial: OnTrial) -> list[Trial]:
        seen.append(len(points))
        return [Trial(number=number, epochs=1, validation_loss=1.0) for number in points]

    searched(given, search(), attempt)
    searched(given, search(seed=2), attempt)
    (tmp_path / TRIALS).write_bytes((tmp_path / TRIALS).read_bytes()[:-9])
    searched(given, search(seed=2), attempt)
    searched(given, search(seed=2), attempt)
    assert seen == [40, 40, 40]


def test_a_full_disk_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr("engine.train.search.pq.write_table", full)
    trials = [Trial(number=i, epochs=1, validation_loss=1.0) for i in range(40)]
    with pytest.raises(RunError, match=r"trials\.parquet cannot be written.*No space left.*make room there"):
        searched(lesson(tmp_path), search(), Mock(return_value=trials))


def test_a_search_in_which_nothing_was_learnt_is_an_error(tmp_path: Path) -> None:
    trials = [Trial(number=i, epochs=0, validation_loss=float("inf")) for i in range(40)]
    with pytest.raises(RunError, match="no number"):
        searched(lesson(tmp_path), search(), Mock(return_value=trials))


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"training.loss": {"choice": ["mse"]}}, "training.loss cannot be searched"),
        ({"sampling.draws": {"choice": [1]}}, "sampling.draws cannot be searched"),
        ({"training.batch": {"uniform": [1, 2], "choice": [3]}}, "give one of"),
        ({"training.noise": {"uniform": [2, 1]}}, "must ascend"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(ranges: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        search(ranges=ranges)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"model.hyper.layers": 3}, "there is no model.hyper.layers"),
        ({"training.batch": 12.5}, "batch"),
        ({"model.hyper.dropout": 1.5}, "dropout"),
    ],
)
def test_points_that_cannot_be_are_refused_before_any_trial(
    tmp_path: Path, point: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        at(lesson(tmp_path), point)
