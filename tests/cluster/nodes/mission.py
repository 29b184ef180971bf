"""A run on several nodes: started as a command beside one of them, watched through its receipts."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.plan import make_plan
from engine.spec import Profile, RunSpec
from engine.toml import load
from jobs.run import run
from tests.cluster.nodes.raylets import HERE, REPOSITORY, Place, Raylets
from tests.drills.local import prints
from tests.drills.scene import Scene

PATIENCE_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mission:
    """A spec and a profile in a folder, with the catalog below it."""

    folder: Path
    cluster: Raylets
    actors: int

    def start(self, place: Place = HERE) -> subprocess.Popen[bytes]:
        """`abundant run` on the cluster, by a driver at a place."""
        program = ["tests.cluster.nodes.driver", place.address] if place.words else ["jobs"]
        call = [*place.words, sys.executable, "-m", *program, "run", "run.toml", "--profile", "profile.toml"]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                call, cwd=self.folder, env=self.cluster.for_drivers(), stdout=log, stderr=log
            )

    def by_node(self) -> Counter[str]:
        """Tasks that are done, by the id of the node that did them."""
        found = (self.folder / "catalogs").glob("_staging/*/receipts/[!.]*.json")
        where = [json.loads(path.read_text())["where"] for path in found]
        return Counter(place.partition("/")[2] for place in where)

    def wait(self, ready: Callable[[Counter[str]], bool], driver: subprocess.Popen[bytes]) -> Counter[str]:
        """Until receipts are as they should be; the driver must live till then."""
        deadline = time.monotonic() + PATIENCE_S
        while not ready(found := self.by_node()):
            assert driver.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)
        return found

    def end(self, driver: subprocess.Popen[bytes]) -> None:
        """Until the run is published."""
        assert driver.wait(PATIENCE_S) == 0, self.log()

    def log(self) -> str:
        """What drivers wrote, and the nodes."""
        return "\n".join(path.read_text() for path in (self.folder / "log", *self.cluster.logs))


def mission(scene: Scene, folder: Path, cluster: Raylets, actors: int) -> Mission:
    """A run of some dozen tasks that take long enough to lose a node between them."""
    spec, profile = scene.write(folder / "catalogs", folder, "ray_data")
    text = spec.read_text().replace("rows = 25", "rows = 4").replace("draws = 6", "draws = 2000")
    spec.write_text(text)
    profile.write_text(f"actors = {actors}\n")
    return Mission(folder=folder, cluster=cluster, actors=actors)


def local_prints(scene: Scene, folder: Path) -> dict[str, str]:
    """The prints of the same run's catalog, made in this process."""
    spec, _ = scene.write(folder / "catalogs", folder, "ray_data")
    spec.write_text(spec.read_text().replace("rows = 25", "rows = 4").replace("draws = 6", "draws = 2000"))
    run(make_plan(load(spec, RunSpec)), Profile(runtime="local"))
    return prints(scene, folder / "catalogs")


def alive(cluster: Raylets, count: int) -> None:
    """Wait until so many nodes are there."""
    asked = (
        "import sys, time, ray; ray.init(log_to_driver=False); until = time.monotonic() + 240\n"
        "while sum(node['Alive'] for node in ray.nodes()) != int(sys.argv[1]):\n"
        "    assert time.monotonic() < until, ray.nodes()\n"
        "    time.sleep(0.2)\n"
    )
    call = [sys.executable, "-c", asked, str(count)]
    done = subprocess.run(
        call, env=cluster.for_drivers(), cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
