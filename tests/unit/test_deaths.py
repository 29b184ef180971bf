"""How often workers may die over a task, counted by marks on the disk of their node."""

import os
import signal
import tempfile
from multiprocessing import get_context
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.runtime.deaths import Deaths, new_run


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def die(deaths: Deaths, task: str, node: str) -> None:
    with deaths.over(task, "label", node):
        os.kill(os.getpid(), signal.SIGKILL)


def died(deaths: Deaths, task: str = "poison", node: str = "here") -> int | None:
    process = get_context("fork").Process(target=die, args=(deaths, task, node))
    process.start()
    process.join()
    return process.exitcode


def test_who_does_not_die_leaves_no_mark(disk: Path) -> None:
    deaths = Deaths(run=new_run(), bound=0)
    for _ in range(3):
        with deaths.over("task", "read", "here"):
            assert len(list(disk.iterdir())) == 1
        assert not list(disk.iterdir())
    with pytest.raises(ZeroDivisionError), deaths.over("task", "read", "here"):
        _ = 1 / 0
    assert not list(disk.iterdir())


def test_one_death_more_than_the_bound_is_told_and_the_next_run_counts_anew(disk: Path) -> None:
    deaths = Deaths(run=new_run(), bound=1)
    for _ in range(2):
        assert died(deaths) == -signal.SIGKILL
    with pytest.raises(RunError, match=r"died 2 times over task poison.*raise `retries`"):
        die(deaths, "poison", "here")
    assert not list(disk.iterdir())


@pytest.mark.parametrize("other", ["task", "node", "run", "doing", "none"])
def test_deaths_elsewhere_do_not_count(other: str) -> None:
    deaths = Deaths(run=new_run(), bound=0)
    assert died(deaths) == -signal.SIGKILL
    asked = Deaths(run=new_run(), bound=0) if other == "run" else deaths
    task, node = "another" if other == "task" else "poison", "there" if other == "node" else "here"
    try:
        with asked.over(task, "read" if other == "doing" else "label", node):
            assert other != "none"
    except RunError:
        assert other == "none"


def test_without_a_bound_it_goes_on() -> None:
    deaths = Deaths(run=new_run(), bound=-1)
    for _ in range(5):
        assert died(deaths) == -signal.SIGKILL
    with deaths.over("poison", "label", "here"):
        pass
