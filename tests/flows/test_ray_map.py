"""A commit whose steps are Ray tasks: the same bytes, the same errors."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from catalogs.commit import Mapper
from engine.errors import CommitError, RunError
from engine.runtime import MAPS
from engine.spec import Profile
from tests.unit.catalog_commits import NAMES, TASKS, published_bytes, undisturbed
from tests.unit.catalog_rows import layout, publish, staged

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


@pytest.fixture
def on_ray() -> Mapper:
    return partial(MAPS["ray_data"], Profile())


def test_a_commit_on_ray_makes_the_bytes_of_the_local_one(on_ray: Mapper, tmp_path: Path) -> None:
    expected = published_bytes(undisturbed(tmp_path / "local"))
    where = layout(tmp_path / "ray")
    staged(where, TASKS)
    assert publish(where, NAMES, mapper=on_ray).rows == sum(map(len, TASKS.values()))
    assert published_bytes(where) == expected


def refuse(number: int) -> int:
    """Some items are bad."""
    if number == 3:
        raise CommitError("the third is damaged")
    return number


def test_an_error_on_a_worker_is_the_drivers_error(on_ray: Mapper) -> None:
    with pytest.raises(CommitError, match=r"^the third is damaged$"):
        list(on_ray(refuse, range(8)))


def test_every_item_is_done_once_and_none_is_nothing(on_ray: Mapper) -> None:
    assert sorted(on_ray(abs, [-n for n in range(50)])) == list(range(50))
    assert list(on_ray(abs, [])) == []


def die_once(marker: Path, number: int) -> int:
    """The first worker that gets here is killed."""
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return number
    os.kill(os.getpid(), signal.SIGKILL)
    return -1


def test_a_killed_worker_is_replaced(on_ray: Mapper, tmp_path: Path) -> None:
    assert sorted(on_ray(partial(die_once, tmp_path / "killed"), range(6))) == list(range(6))


def die(number: int) -> int:
    """Whoever gets here is killed."""
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_an_item_that_kills_every_worker_ends_in_one_line(on_ray: Mapper) -> None:
    with pytest.raises(RunError, match="run the same command again"):
        list(on_ray(die, [1]))
