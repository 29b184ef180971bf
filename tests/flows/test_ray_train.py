"""Training on Ray: the plain loop's weights, whoever is killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from engine.errors import PlanError, UnexpectedNaN
from engine.spec import Profile
from engine.train.members import Learnt, Lesson, learn
from engine.train.search import TRIALS, OnTrial, Trial, points_of, searched
from engine.train.spec import Search
from engine.train.state import Epoch
from tests.small_training import learn_quietly, lesson, same_weights

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]
SETTINGS: dict[str, Any] = {"epochs": 6, "seed": 3}


def learn_on(given: Lesson, profile: Profile, on_epoch: Callable[[Epoch], None]) -> list[Learnt]:
    from engine.runtime.training import TRAINERS

    return list(TRAINERS["ray_data"](given, on_epoch, profile))


def processes(name: str) -> list[psutil.Process]:
    """Processes of this session's Ray that run an actor or a task of a name."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if f"ray::{name}" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_one_worker_leaves_the_weights_of_the_plain_loop(tmp_path: Path) -> None:
    [plain] = learn_quietly(lesson(tmp_path / "plain", **SETTINGS))
    seen: list[Epoch] = []
    [found] = learn_on(lesson(tmp_path / "ray", **SETTINGS), Profile(actors=1), seen.append)
    assert same_weights(found, plain)
    assert list(found.history) == plain.history == seen
    assert [path.name for path in (tmp_path / "ray").iterdir()] == ["member-0"]


TOGETHER: dict[str, Any] = {"epochs": 12, "batch": 64}
TOGETHER_STARS, SIGMAS = 2048, 3.0


@dataclass(frozen=True)
class Noise:
    """The validation losses that plain trainings end with, which differ by nothing but their seed."""

    ends: list[float]

    def within(self, ends: list[float]) -> bool:
        """Whether the mean of some losses is what as many more such trainings would end with."""
        error = np.std(self.ends, ddof=1) * np.sqrt(1 / len(ends) + 1 / len(self.ends))
        return bool(abs(np.mean(ends) - np.mean(self.ends)) < SIGMAS * error)


def plain_ends(place: Path, stars: int, seeds: range) -> list[float]:
    found = []
    for seed in seeds:
        given = lesson(place / f"{stars}-{seed}", stars, seed=seed, **TOGETHER)
        [learnt] = learn_quietly(replace(given, least_s=3600.0))
        found.append(learnt.history[-1].validation_loss)
    return found


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Noise:
    return Noise(plain_ends(tmp_path_factory.mktemp("noise"), TOGETHER_STARS, range(11, 19)))


def test_the_noise_between_seeds_can_tell_workers_that_learn_apart(noise: Noise, tmp_path: Path) -> None:
    """Two workers that forgot to join their gradients would each have learnt from half of the stars."""
    assert noise.within(plain_ends(tmp_path, TOGETHER_STARS, range(21, 23)))
    assert not noise.within(plain_ends(tmp_path, TOGETHER_STARS // 2, range(21, 23)))


def test_two_workers_reach_the_loss_of_one_within_the_noise_between_seeds(
    noise: Noise, tmp_path: Path
) -> None:
    given = lesson(tmp_path, TOGETHER_STARS, seed=1, **TOGETHER)
    [found] = learn_on(given, Profile(actors=2), lambda _: None)
    assert noise.within([found.history[-1].validation_loss])


def test_two_workers_of_which_one_is_killed_learn_as_well(noise: Noise, tmp_path: Path) -> None:
    """Their batches are the plain loop's; noise and dropout are not, so the loss is the same within noise."""
    seen: list[Epoch] = []

    def kill_at_3(epoch: Epoch) -> None:
        seen.append(epoch)
        if epoch.number == 3:
            group = processes("RayTrainWorker")
            assert len(group) == 2
            group[0].kill()

    given = lesson(tmp_path, TOGETHER_STARS, seed=3, **TOGETHER)
    [found] = learn_on(given, Profile(actors=2), kill_at_3)
    assert [epoch.number for epoch in seen] == list(range(1, 13))
    assert noise.within([found.history[-1].validation_loss])


DRIVER = """
import sys
from pathlib import Path
from engine.runtime.training import TRAINERS
from engine.spec import Profile
from tests.small_training import lesson
TRAINERS["ray_data"](lesson(Path(sys.argv[1]), epochs=100_000, seed=3), lambda _: None, Profile(actors=1))
"""


def test_a_killed_driver_is_gone_on_with_by_the_same_command(tmp_path: Path) -> None:
    """The driver dies in the midst of a long training; a plain loop with the same spec goes on from there."""
    import ray

    environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path)], env=environment)
    log = tmp_path / "member-0" / "log.jsonl"
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 5)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    lines = len(log.read_text().splitlines())
    given = lesson(tmp_path, epochs=100_000, seed=3)
    first: list[int] = []

    def stop(epoch: Epoch) -> None:
        first.append(epoch.number)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(given, 0, on_epoch=stop)
    assert first[0] > lines
    assert not processes("RayTrainWorker")


def wait_for(what: Callable[[], bool], seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_members_side_by_side_are_those_of_the_plain_loop_though_one_is_killed(tmp_path: Path) -> None:
    settings = SETTINGS | {"members": 3, "keep_share": 0.8, "epochs": 60}
    plain = learn_quietly(lesson(tmp_path / "plain", **settings))
    seen: list[Epoch] = []

    def kill_once(epoch: Epoch) -> None:
        if not seen:
            processes("_member")[0].kill()
        seen.append(epoch)

    found = learn_on(lesson(tmp_path / "ray", **settings), Profile(actors=2), kill_once)
    assert all(same_weights(one, other) for one, other in zip(plain, found, strict=True))
    for member in range(3):
        numbers = [epoch.number for epoch in seen if epoch.member == member]
        assert numbers == list(range(1, 61))


def test_an_error_of_the_training_comes_back_as_it_is(tmp_path: Path) -> None:
    given = lesson(tmp_path, members=2, learning_rate=1e25, epochs=30)
    with pytest.raises(UnexpectedNaN, match=r"lower \[training\] learning_rate"):
        learn_on(given, Profile(), lambda _: None)


def test_more_workers_than_the_cluster_holds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="lower `actors` in the profile to at most 4"):
        learn_on(lesson(tmp_path), Profile(actors=5), lambda _: None)


def test_workers_of_one_network_do_not_share_a_card() -> None:
    from engine.runtime.ray_train import refuse_shared_card

    with pytest.raises(PlanError, match=r"2 workers of one network on the same card.*set gpus = 1"):
        refuse_shared_card(Profile(gpus=0.5), workers=2)
    for profile, workers in ((Profile(gpus=0.5), 1), (Profile(gpus=1), 2), (Profile(), 2)):
        refuse_shared_card(profile, workers)


def test_a_search_finds_the_learning_rate_that_learns_and_stops_the_others(tmp_path: Path) -> None:
    from engine.runtime.training import SEARCHERS

    rates = {"choice": [1e-7, 3e-2, 1e25]}
    search = Search.model_validate(
        {"trials": 4, "grace": 2, "seed": 9, "ranges": {"training.learning_rate": rates}}
    )
    assert {point["training.learning_rate"] for point in points_of(search)} == {1e-7, 3e-2, 1e25}
    found, told = searched(
        lesson(tmp_path, epochs=18), search, lambda *what: SEARCHERS["ray_data"](*what, Profile(actors=2))
    )
    assert found.settings.learning_rate == 3e-2
    epochs = pq.read_table(tmp_path / TRIALS)["epochs"].to_pylist()
    assert len(epochs) == 4
    assert min(epochs) < 18
    assert told["epochs"] == 18
    assert [path.name for path in tmp_path.iterdir()] == [TRIALS]


SEARCHER = """
import sys
from pathlib import Path
from tests.flows.test_ray_train import search_on
search_on(Path(sys.argv[1]), 1)
"""


def search_on(
    place: Path, actors: int, seen: Callable[[list[int]], None] = print, stop_at: int = 0
) -> dict[str, Any]:
    """A search in which no trial is stopped early; `seen` are the points that are tried.

    Ctrl-C is pressed when so many trials of it are done.
    """
    from engine.runtime.training import SEARCHERS

    rates = {"training.learning_rate": {"loguniform": [1e-4, 1e-2]}}
    search, done = Search.model_validate({"trials": 4, "grace": 8, "ranges": rates}), list[int]()

    def attempt(given: Lesson, search: Search, points: Any, on_trial: OnTrial) -> Sequence[Trial]:
        def told(trial: Trial) -> None:
            on_trial(trial)
            done.append(trial.number)
            if len(done) == stop_at:
                signal.raise_signal(signal.SIGINT)

        seen(sorted(points))
        return SEARCHERS["ray_data"](given, search, points, told, Profile(actors=actors))

    return searched(lesson(place, epochs=8), search, attempt)[1]


def check_the_rest_is_tried(place: Path) -> None:
    """Of a search that was stopped, the trials on record stay as they are and the others are done."""
    before, tried = pq.read_table(place / TRIALS).to_pylist(), list[list[int]]()
    told = search_on(place, 3, tried.append)
    after = pq.read_table(place / TRIALS).to_pylist()
    assert 1 <= len(before) < len(after) == told["trials"] == 4
    assert tried == [sorted({*range(4)} - {row["trial"] for row in before})]
    assert all(row in after for row in before)
    assert [path.name for path in place.iterdir()] == [TRIALS]


def test_a_search_that_is_interrupted_goes_on_with_the_trials_that_are_left(tmp_path: Path) -> None:
    """Tune would take Ctrl-C for the end of the search."""
    # A shell's background job, which these tests may be, is deaf to Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            search_on(tmp_path, 1, stop_at=1)
    finally:
        signal.signal(signal.SIGINT, before)
    check_the_rest_is_tried(tmp_path)


def test_a_search_whose_driver_is_killed_goes_on_with_the_trials_that_are_left(tmp_path: Path) -> None:
    import ray

    environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    driver = subprocess.Popen([sys.executable, "-c", SEARCHER, str(tmp_path)], env=environment)
    try:
        wait_for((tmp_path / TRIALS).exists)
    finally:
        driver.kill()
        driver.wait()
    check_the_rest_is_tried(tmp_path)
