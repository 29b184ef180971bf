"""A training that is killed, at any moment, ends as if it had not been."""

import errno
import json
import multiprocessing
import random
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import PlanError, RunError
from engine.train.checkpoint import KEPT, MANIFEST, STEPS, WEIGHTS, only_writer
from engine.train.members import Learnt, learn
from engine.train.state import Epoch
from tests.small_training import (
    die_at_sync,
    fill_disk,
    learn_in,
    learn_quietly,
    lesson,
    same_weights,
    with_other,
)

# Everything that has a state: plateaus, patience, augmentation, dropout, the weights of the best epoch.
SETTINGS: dict[str, Any] = {
    "epochs": 12,
    "schedule": "reduce_on_plateau",
    "plateau": {"patience": 1, "min_delta": 4.0},
    "mask_pixels": 0.1,
    "seed": 5,
}
SYNCS_OF_A_SAVE = 5


@pytest.fixture(scope="module")
def processes() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.small_training"])
    return context


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    [learnt] = learn_quietly(lesson(tmp_path_factory.mktemp("undisturbed"), **SETTINGS))
    assert len({epoch.learning_rate for epoch in learnt.history}) > 1
    return learnt


def checkpoints(place: Path) -> list[Path]:
    return sorted((place / "member-0").glob("epoch-*"))


def last_epoch(place: Path) -> int:
    return max((int(path.name.removeprefix("epoch-")) for path in checkpoints(place)), default=0)


def test_killed_at_random_it_ends_with_the_same_weights(processes: Any, tmp_path: Path) -> None:
    """How long each child lives is drawn; what it has done stays, and the last one finishes."""
    settings = SETTINGS | {"epochs": 40}
    [undisturbed] = learn_quietly(lesson(tmp_path / "undisturbed", **settings))
    chance, place, reached = random.Random(1), tmp_path / "killed", [0]
    for _ in range(4):
        started = processes.Event()
        child = processes.Process(target=learn_in, args=(place, settings, started))
        child.start()
        assert started.wait(30)
        time.sleep(chance.uniform(0.0, 0.12))
        child.kill()
        child.join()
        reached.append(last_epoch(place))
    assert reached == sorted(reached)
    assert 0 < reached[2] < 40
    [learnt] = learn_quietly(lesson(place, **settings))
    assert same_weights(learnt, undisturbed)
    assert learnt.history == undisturbed.history


@pytest.mark.parametrize("sync", [1, 2, 3, 4, 5, 3 * SYNCS_OF_A_SAVE + 2, 4 * SYNCS_OF_A_SAVE])
def test_killed_while_a_checkpoint_is_written_it_loses_that_epoch_alone(
    undisturbed: Learnt, processes: Any, tmp_path: Path, sync: int
) -> None:
    child = processes.Process(target=die_at_sync, args=(tmp_path, SETTINGS, sync))
    child.start()
    child.join()
    assert child.exitcode == -9
    # The last of the flushes comes after the rename.
    assert last_epoch(tmp_path) == sync // SYNCS_OF_A_SAVE
    seen = []
    found = learn(lesson(tmp_path, **SETTINGS), 0, on_epoch=lambda epoch: seen.append(epoch.number))
    assert seen[0] == sync // SYNCS_OF_A_SAVE + 1
    assert same_weights(found, undisturbed)
    assert not list((tmp_path / "member-0").glob(".epoch-*"))


@pytest.mark.parametrize("name", [WEIGHTS, STEPS, MANIFEST])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_checkpoint_is_passed_over(
    undisturbed: Learnt, tmp_path: Path, name: str, damage: str
) -> None:
    learn_quietly(lesson(tmp_path, **SETTINGS))
    assert len(checkpoints(tmp_path)) == KEPT
    path = checkpoints(tmp_path)[-1] / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-7])
    seen = []
    found = learn(lesson(tmp_path, **SETTINGS), 0, on_epoch=lambda epoch: seen.append(epoch.number))
    assert seen == [12]
    assert same_weights(found, undisturbed)


@pytest.mark.parametrize(
    ("what", "room", "least_s", "kept"), [("a checkpoint", 4000, 0.0, 2), ("the log", 100, 3600.0, 0)]
)
def test_a_full_disk_stops_it_with_a_message_and_it_goes_on_when_there_is_room(
    undisturbed: Learnt, processes: Any, tmp_path: Path, what: str, room: int, least_s: float, kept: int
) -> None:
    """The system's own limit on the size of files: libraries find it where they find a full disk."""
    child = processes.Process(target=fill_disk, args=(tmp_path, SETTINGS, room, least_s))
    child.start()
    child.join()
    assert child.exitcode == 0
    told = (tmp_path / "told").read_text()
    remedy = f"goes on after epoch {kept}" if kept else "begins anew"
    assert told.startswith(f"{tmp_path / 'member-0'}: {what} cannot be written: ")
    assert told.endswith(f"File too large; make room there, and the same command {remedy}")
    assert last_epoch(tmp_path) == kept
    assert not list((tmp_path / "member-0").glob(".epoch-*"))
    seen = []
    found = learn(lesson(tmp_path, **SETTINGS), 0, on_epoch=lambda epoch: seen.append(epoch.number))
    assert seen[0] == kept + 1
    assert same_weights(found, undisturbed)


@pytest.mark.parametrize("what", ["spec", "data", "code"])
def test_another_training_is_refused_with_the_remedy(tmp_path: Path, what: str) -> None:
    given = lesson(tmp_path / "out-training", epochs=1)
    learn_quietly(given)
    with pytest.raises(PlanError, match=f"other {what}(?s:.*) after epoch 1: put that back .*, or delete "):
        learn_quietly(with_other(given, **{what: "another"}))


def test_the_log_has_each_epoch_once_whatever_happened(undisturbed: Learnt, tmp_path: Path) -> None:
    given = lesson(tmp_path, **SETTINGS)
    learn_quietly(given)
    shutil.rmtree(checkpoints(tmp_path)[-1])
    learn_quietly(given)
    lines = [json.loads(line) for line in (tmp_path / "member-0" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 13))
    assert [line["validation_loss"] for line in lines] == [e.validation_loss for e in undisturbed.history]
    assert set(lines[0]["scatter"]) == {"teff", "logg"}
    assert lines[-1]["seconds_left"] == 0
    assert list((tmp_path / "member-0").glob("events.out.tfevents.*"))


def test_no_space_left_is_told_once_and_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "epoch-000003" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(
        RunError, match=r"a checkpoint .*No space left on device; make room .* after epoch 2$"
    ):
        learn_quietly(lesson(tmp_path, **SETTINGS))
    assert [path.name for path in checkpoints(tmp_path)] == ["epoch-000001", "epoch-000002"]


def test_a_learning_rate_that_is_too_high_stops_the_training_and_keeps_what_was_good(tmp_path: Path) -> None:
    given = lesson(tmp_path, epochs=30, learning_rate=1e25, optimiser="adam")
    with pytest.raises(
        Exception, match=r"NaN or infinite (in batch \d of 4|on validation stars), in epoch \d"
    ):
        learn_quietly(given)


def test_one_process_trains_in_a_folder_at_a_time(processes: Any, tmp_path: Path) -> None:
    started = processes.Event()
    child = processes.Process(target=learn_in, args=(tmp_path, SETTINGS | {"epochs": 100_000}, started))
    child.start()
    assert started.wait(30)
    folder = tmp_path / "member-0"
    with pytest.raises(RunError, match="another process trains in"), only_writer(folder, patience_s=0.5):
        pass
    child.kill()
    with only_writer(folder, patience_s=10):
        child.join()


def test_where_epochs_are_short_only_some_are_kept(undisturbed: Learnt, tmp_path: Path) -> None:
    given = replace(lesson(tmp_path, **SETTINGS), least_s=3600.0)

    def stop(epoch: Epoch) -> None:
        if epoch.number == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(given, 0, on_epoch=stop)
    assert checkpoints(tmp_path) == []
    assert same_weights(learn(given, 0, on_epoch=lambda _: None), undisturbed)
    assert last_epoch(tmp_path) == 12
