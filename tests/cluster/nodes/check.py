"""`make test-cluster`: runs on nodes that have addresses of their own, of which one after the other is lost.

As root, with iproute2; skipped with the reason where there can be no network namespaces.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.nodes.mission import Mission, alive, local_prints, mission
from tests.cluster.nodes.networks import namespaces, why_not
from tests.cluster.nodes.raylets import Place, Raylets, raylets
from tests.drills.local import prints
from tests.drills.scene import Scene, make_scene

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "never")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"), stars=240)


@pytest.fixture(scope="module")
def usual(scene: Scene) -> dict[str, str]:
    return local_prints(scene, scene.folder / "local")


@pytest.fixture
def places() -> Iterator[list[Place]]:
    with namespaces(4) as found:
        yield found


@pytest.fixture
def cluster(tmp_path: Path, places: list[Place]) -> Iterator[Raylets]:
    """Three nodes in three networks; the head does no work."""
    with raylets(tmp_path, cpus=0, place=places[0]) as found:
        for place in places[1:3]:
            found.join(cpus=1, place=place)
        alive(found, 3)
        yield found


@pytest.fixture
def asked(scene: Scene, tmp_path: Path, cluster: Raylets) -> Mission:
    return mission(scene, tmp_path / "run", cluster, actors=2)


def test_a_node_is_lost_and_another_joins(
    places: list[Place], cluster: Raylets, scene: Scene, asked: Mission, usual: dict[str, str]
) -> None:
    driver = asked.start(places[0])
    asked.wait(lambda found: len(found) == 2, driver)
    cluster.nodes[2].kill()
    with cluster.nodes[1].standing_still():
        cluster.join(cpus=1, place=places[3])
        asked.wait(lambda found: len(found) == 3, driver)
    asked.end(driver)
    assert prints(scene, asked.folder / "catalogs") == usual


def test_all_working_nodes_are_lost_and_others_join(
    places: list[Place], cluster: Raylets, scene: Scene, asked: Mission, usual: dict[str, str]
) -> None:
    driver = asked.start(places[0])
    asked.wait(lambda found: len(found) == 2, driver)
    for node in cluster.nodes[1:3]:
        node.kill()
    for place in places[1:3]:
        cluster.join(cpus=1, place=place)
    asked.end(driver)
    assert len(asked.by_node()) >= 3
    assert prints(scene, asked.folder / "catalogs") == usual


def test_the_drivers_node_is_lost_with_the_head_and_the_same_command_goes_on_elsewhere(
    places: list[Place], cluster: Raylets, scene: Scene, asked: Mission, usual: dict[str, str], tmp_path: Path
) -> None:
    driver = asked.start(places[0])
    asked.wait(lambda found: len(found) == 2, driver)
    with ExitStack() as still:
        for node in cluster.nodes[1:3]:
            still.enter_context(node.standing_still())
        cluster.nodes[0].kill()
        driver.kill()
    driver.wait()
    cluster.stop()
    (tmp_path / "other").mkdir()
    with raylets(tmp_path / "other", cpus=1, place=places[3]) as other:
        again = Mission(folder=asked.folder, cluster=other, actors=1)
        (asked.folder / "profile.toml").write_text("actors = 1\n")
        again.end(again.start(places[3]))
        assert "Resuming:" in again.log()
    assert prints(scene, asked.folder / "catalogs") == usual


def test_the_drivers_node_is_lost_and_the_same_command_goes_on_from_another_of_the_cluster(
    places: list[Place], cluster: Raylets, scene: Scene, asked: Mission, usual: dict[str, str]
) -> None:
    driver = asked.start(places[1])
    asked.wait(lambda found: len(found) == 2, driver)
    with cluster.nodes[2].standing_still():
        cluster.nodes[1].kill()
        driver.kill()
    driver.wait()
    cluster.join(cpus=1, place=places[3])
    alive(cluster, 3)
    asked.end(asked.start(places[2]))
    assert "Resuming:" in asked.log()
    assert prints(scene, asked.folder / "catalogs") == usual
