"""What a cluster costs: from `submit` to the first receipt, after a lost node, from one worker to two.

Nodes are raylets on this machine. Rates are those of bench_job, start-up apart, in interleaved rounds.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from engine.plan import Plan, make_plan
from engine.runtime.ray_data import connect
from engine.spec import Profile, RunSpec
from tests.bench.bench_job import HIDDEN, SAMPLING, Run, on_processes, on_ray, stage_in
from tests.bundles import write_bundle
from tests.cluster.nodes.mission import Mission, alive, mission
from tests.cluster.nodes.raylets import Raylets, raylets
from tests.drills.scene import Scene, make_scene

ROUNDS, TIMES = 5, 3
AIMS = {"one_to_two_workers": ">= 0.9", "two_over_processes": ">= 0.85"}


def bench(root: Path, work: Path) -> dict[str, float]:
    """Medians; seconds, spectra/s, and ratios within a round."""
    scene = make_scene(work / "scene", stars=240)
    figures = {"load_before": os.getloadavg()[0]}
    figures |= _on_a_cluster(scene, _folder(work / "submit"), cpus=2, measure=_submit)
    figures |= _on_a_cluster(scene, _folder(work / "lost"), cpus=0, measure=_lost)
    return figures | _scaling(root, _folder(work / "scaling")) | {"load_after": os.getloadavg()[0]}


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _on_a_cluster(
    scene: Scene, folder: Path, *, cpus: int, measure: Callable[[Scene, Path, Raylets], float]
) -> dict[str, float]:
    start = time.perf_counter()
    with raylets(folder, cpus=cpus) as cluster:
        started = time.perf_counter() - start
        seconds = [measure(scene, _folder(folder / str(number)), cluster) for number in range(TIMES)]
    name = measure.__name__.removeprefix("_")
    return {
        f"{name}_to_receipt_s": median(seconds),
        f"{name}_to_receipt_most_s": max(seconds),
        f"{name}_head_start_s": started,
    }


def _submit(scene: Scene, folder: Path, cluster: Raylets) -> float:
    """Seconds from the command `submit` to the first receipt."""
    asked = mission(scene, folder, cluster, actors=2)
    (folder / "profile.toml").write_text(f'actors = 2\naddress = "{cluster.dashboard}"\n')
    start = time.perf_counter()
    call = [sys.executable, "-m", "jobs", "submit", "run.toml", "--profile", "profile.toml"]
    with (folder / "log").open("wb") as log:
        job = subprocess.Popen(call, cwd=folder, env=cluster.environment, stdout=log, stderr=log)
    asked.wait(lambda found: bool(found), job)
    seconds = time.perf_counter() - start
    asked.end(job)
    return seconds


def _lost(scene: Scene, folder: Path, cluster: Raylets) -> float:
    """Seconds from the death of one of two working nodes to the first receipt of the idle third."""
    before = len(cluster.nodes)
    for _ in range(3):
        cluster.join(cpus=1)
    alive(cluster, 4)
    asked = mission(scene, folder, cluster, actors=2)
    job = asked.start()
    seconds = _replaced(asked, job, cluster, before)
    for node in cluster.nodes[before:]:
        node.kill()
    alive(cluster, 1)
    return seconds


def _replaced(asked: Mission, job: subprocess.Popen[bytes], cluster: Raylets, before: int) -> float:
    asked.wait(lambda found: len(found) == 2, job)
    working = [node for node in cluster.nodes[before:] if node.actors()]
    working[0].kill()
    start = time.perf_counter()
    with working[1].standing_still():
        asked.wait(lambda found: len(found) == 3, job)
        seconds = time.perf_counter() - start
    asked.end(job)
    return seconds


def _scaling(root: Path, work: Path) -> dict[str, float]:
    """One Ray worker, two of them, and two independent processes, one after the other in each round."""
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(work / "token")
    (work / "token").write_text("00" * 32)
    plan = make_plan(_spec(root, work))
    connect(Profile())
    rounds = [_round(plan, work, number) for number in range(ROUNDS)]
    one, two, processes = (median(each[i].rate for each in rounds) for i in range(3))
    return {
        "one_worker_spectra_per_s": one,
        "two_workers_spectra_per_s": two,
        "two_processes_spectra_per_s": processes,
        "one_to_two_workers": median(each[1].rate / (2 * each[0].rate) for each in rounds),
        "two_over_processes": median(each[1].rate / each[2].rate for each in rounds),
    }


def _round(plan: Plan, work: Path, number: int) -> tuple[Run, Run, Run]:
    return (
        on_ray(plan, stage_in(work / f"one{number}", plan), actors=1),
        on_ray(plan, stage_in(work / f"two{number}", plan)),
        on_processes(plan, stage_in(work / f"processes{number}", plan)),
    )


def _spec(root: Path, work: Path) -> RunSpec:
    plain = {
        "survey": {"name": "desi", "root": root, "select": {"by": "all"}},
        "model": {"bundle": write_bundle(work / "bundle", sampling=SAMPLING, hidden=HIDDEN)},
        "sampling": SAMPLING.model_dump(),
        "tasks": {"rows": 256},
        "catalog": {"name": "bench", "version": "1", "root": work},
    }
    return RunSpec.model_validate(plain)
