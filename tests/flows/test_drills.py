"""A few of the drills in every test run; `make drills` makes hundreds (tests/drills)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.plan import make_plan
from engine.spec import Profile
from jobs.run import run
from tests.drills.death import Disk
from tests.drills.local import Undisturbed, keys, prints
from tests.drills.on_ray import Cluster, Victim, drill
from tests.drills.scene import Scene, make_scene

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(("kind", "many"), [("local", 8), ("following", 2), ("pairs", 3), ("pairs-s3", 1)])
def test_runs_that_are_killed_or_doubled_make_the_same_catalog(kind: str, many: int, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.drills", kind, "--drills", str(many), "--dir", str(tmp_path)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = [json.loads(line) for line in (tmp_path / f"{kind}-1.jsonl").read_text().splitlines()]
    found = [(one["lost"], one["doubled"], one["differing"], one["left"]) for one in outcomes]
    assert found == [(0, 0, [], 0)] * many
    assert sum(len(one["deaths"]) + one["refused"] for one in outcomes) >= many


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("drills"), stars=240)


@pytest.fixture
def usual(scene: Scene) -> Undisturbed:
    root = scene.folder / "undisturbed"
    plan = make_plan(scene.spec(root))
    run(plan, Profile(runtime="local"))
    return Undisturbed(
        bytes=prints(scene, root),
        keys=frozenset(keys(scene, root)),
        older={},
        tasks=len(plan.tasks),
        operations=0,
        seconds=0,
    )


@pytest.mark.ray
@pytest.mark.parametrize("victim", ["driver", "actor"])
def test_runs_on_ray_whose_processes_are_killed_make_the_same_catalog(
    ray_session: None, scene: Scene, usual: Undisturbed, victim: Victim
) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    cluster = Cluster(
        environment=os.environ | {"RAY_ADDRESS": address}, victims=(victim,), ancestor=os.getpid()
    )
    outcome = drill(scene, usual, cluster, seed=1, number=0 if victim == "driver" else 1)
    assert outcome.deaths, "nothing was killed"
    assert outcome.is_sound, outcome


def write(folder: Path, *, sync_file: bool, sync_folder: bool) -> tuple[Disk, Path]:
    """What a program does to write a file that takes its place at once, with or without its syncs."""
    disk, old, new = Disk(), folder / ".new", folder / "file"
    old.write_bytes(bytes(100))
    if sync_file:
        sync(disk, old)
    old.replace(new)
    disk.rename(old, new)
    if sync_folder:
        sync(disk, folder)
    return disk, new


def sync(disk: Disk, path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    disk.sync(handle)
    os.close(handle)


def test_a_power_cut_spares_what_was_synced(tmp_path: Path) -> None:
    disk, file = write(tmp_path, sync_file=True, sync_folder=True)
    disk.cut()
    assert file.stat().st_size == 100


def test_a_power_cut_takes_a_name_whose_folder_was_not_synced(tmp_path: Path) -> None:
    disk, file = write(tmp_path, sync_file=True, sync_folder=False)
    disk.cut()
    assert not file.exists()


def test_a_power_cut_takes_bytes_that_were_not_synced(tmp_path: Path) -> None:
    disk, file = write(tmp_path, sync_file=False, sync_folder=True)
    disk.cut()
    assert file.stat().st_size == 50
