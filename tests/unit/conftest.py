"""Fixtures that several unit tests share."""

from collections.abc import Callable
from functools import cache as once
from pathlib import Path

import pytest

from catalogs.layout import Layout
from tests.unit.catalog_commits import undisturbed
from tests.unit.simulated import Tree, simulate
from tests.unit.simulated_surveys import Seen, simulate_and_read


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Three simulated coadds with their redrock files, RESOLUTION included."""
    return simulate(tmp_path_factory.mktemp("survey") / "iron", resolution=True)


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Seen]:
    """A function from a survey's name to what its reader makes of 70 simulated stars, made once."""
    return once(lambda name: simulate_and_read(name, tmp_path_factory.mktemp(name) / "survey"))


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own folder for what listings remember, empty."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ABUNDANT_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """The catalog of an undisturbed commit, to compare others with; never to be changed."""
    return undisturbed(tmp_path_factory.mktemp("reference"))


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two staged files at a time, so that a partition has several sources."""
    monkeypatch.setattr("catalogs.groups.GROUP_FILES", 2)
