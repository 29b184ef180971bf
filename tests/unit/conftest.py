"""Fixtures that several unit tests share."""

from collections.abc import Callable, Iterator
from functools import cache as once
from pathlib import Path

import numpy as np
import pytest

from catalogs.layout import Layout
from tests.s3_server import Server, running
from tests.unit.catalog_commits import undisturbed
from tests.unit.label_tables import COLUMNS, STARS, write_csv
from tests.unit.remotes import Shelf, shelf
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


@pytest.fixture
def labels(tmp_path: Path) -> Callable[[str], Path]:
    """A CSV of the training stars' labels, for a model."""

    def make(model: str) -> Path:
        columns = COLUMNS[model].split()
        values = np.random.default_rng(1).uniform(1, 2, (STARS, len(columns)))
        ids = [f"star{i}" for i in range(STARS)]
        return write_csv(tmp_path / f"{model}.csv", columns, values, ids)

    return make


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """An object store, of which every request is counted."""
    with running() as started:
        yield started


@pytest.fixture
def here(server: Server, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """An empty bucket of that store, which behaves; nobody waits long before trying again."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr("engine.surveys.store.client.FIRST_PAUSE_S", 0.001)
    server.reset()
    return shelf(server)
