"""Fixtures that several unit tests share."""

import pytest

from tests.unit.simulated import Tree, simulate


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Three simulated coadds with their redrock files, RESOLUTION included."""
    return simulate(tmp_path_factory.mktemp("survey") / "iron", resolution=True)
