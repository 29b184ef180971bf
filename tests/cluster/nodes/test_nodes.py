"""A run on three nodes of one machine; `make test-cluster` has them in networks of their own (check.py)."""

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.nodes.mission import alive, local_prints, mission
from tests.cluster.nodes.raylets import raylets
from tests.drills.local import prints
from tests.drills.scene import make_scene


@pytest.mark.skipif("ABUNDANT_LONG" not in os.environ, reason="long: run by `make test-cluster`")
def test_a_run_spreads_over_nodes_and_outlives_one_that_another_replaces(tmp_path: Path) -> None:
    scene = make_scene(tmp_path / "scene", stars=240)
    with raylets(tmp_path, cpus=1) as cluster:
        others = [cluster.join(cpus=1), cluster.join(cpus=1)]
        alive(cluster, 3)
        asked = mission(scene, tmp_path / "run", cluster, actors=3)
        driver = asked.start()
        before = asked.wait(lambda found: len(found) == 3, driver)
        assert sum(before.values()) < 66, "the run was over before a node could be lost"
        with ExitStack() as still:
            others[1].kill()
            for node in (cluster.nodes[0], others[0]):
                still.enter_context(node.standing_still())
            cluster.join(cpus=1)
            asked.wait(lambda found: len(found) == 4, driver)
        asked.end(driver)
    assert prints(scene, tmp_path / "run" / "catalogs") == local_prints(scene, tmp_path / "local")
