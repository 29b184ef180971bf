"""Drills on Ray: driver, actor or raylet is killed once some tasks are done; the same command goes on.

Catalogs lie on a disk, or in a bucket behind a bad network. Every job starts a cluster of its own, unless the
environment names one (then no raylet is killed). Processes are found among the descendants of one that we
started, and killed by their ids, nothing else.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from tests.drills import on_s3
from tests.drills.local import KILLED, Outcome, Undisturbed, judge
from tests.drills.scene import Scene

Victim = Literal["driver", "actor", "raylet"]
PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where jobs run: their environment, who can be killed, and whose descendants Ray's workers are."""

    environment: Mapping[str, str]
    victims: tuple[Victim, ...] = ("driver", "actor", "raylet")
    ancestor: int | None = None


@dataclass(slots=True)
class Job:
    """A job that was started, and every process that was ever seen below it."""

    process: subprocess.Popen[bytes]
    seen: dict[int, psutil.Process] = field(default_factory=dict)

    def look(self) -> list[psutil.Process]:
        """The job's descendants at this moment."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.seen |= {one.pid: one for one in found}
        return found

    def reap(self) -> None:
        """Kill what a dead driver left of its own cluster."""
        for one in self.seen.values():
            if one.is_running():
                one.kill()
        psutil.wait_procs(list(self.seen.values()), timeout=20)


def drill(
    scene: Scene,
    usual: Undisturbed,
    cluster: Cluster,
    seed: int,
    number: int,
    store: on_s3.Store | None = None,
) -> Outcome:
    """Kill a process of a run on Ray at a moment drawn from (seed, number); the same command ends the run."""
    kind = "ray" if store is None else "ray-s3"
    dice = random.Random(f"{kind}-{seed}-{number}")
    victim = dice.choice(cluster.victims)
    receipts, pause = dice.randint(0, usual.tasks - 1), dice.uniform(0, 0.3)
    folder = scene.folder / f"{kind}-{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    words = [sys.executable, "-m", "jobs", "run", *_written(scene, folder, store)]
    hit = _disturbed(words, cluster, folder, victim, lambda: _staged(folder, store) >= receipts, pause)
    with (folder / "log").open("ab") as log:
        ended = subprocess.run(words, env=cluster.environment, stdout=log, stderr=log, check=False)
    assert ended.returncode == 0, (folder / "log").read_text()
    deaths = [f"{victim} after {receipts} receipts"] if hit else []
    root = folder / "catalogs" if store is None else on_s3.brought(store, folder)
    found = judge(scene, root, usual, number, deaths)
    if found.is_sound:
        shutil.rmtree(folder)
    return found


def _written(scene: Scene, folder: Path, store: on_s3.Store | None) -> list[str]:
    """The command's words that say what to run, and where."""
    root, endpoint = (folder / "catalogs", None) if store is None else (on_s3.address(folder), store.proxy)
    spec, profile = scene.write(root, folder, "ray_data", endpoint=endpoint)
    return [str(spec), "--profile", str(profile)]


def _disturbed(
    words: list[str], cluster: Cluster, folder: Path, victim: Victim, ready: Callable[[], bool], pause: float
) -> bool:
    """Start the job, kill the victim when it is time, wait for the job's end; was anything killed?"""
    with (folder / "log").open("ab") as log:
        job = Job(subprocess.Popen(words, env=cluster.environment, stdout=log, stderr=log))
    try:
        if not _wait(job, ready):
            return False
        time.sleep(pause)
        hit = _kill(job, victim, cluster.ancestor)
        _end(job)
        return hit
    finally:
        job.reap()


def _wait(job: Job, ready: Callable[[], bool]) -> bool:
    """Until it is time; False when the job ended before."""
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        job.look()
        if job.process.poll() is not None:
            return False
        assert time.monotonic() < deadline, "nothing happened for minutes"
        time.sleep(0.02)
    return True


def _kill(job: Job, victim: Victim, ancestor: int | None) -> bool:
    below = job.look() if ancestor is None else psutil.Process(ancestor).children(recursive=True)
    if victim == "driver":
        job.process.kill()
        return True
    mark = "raylet/raylet" if victim == "raylet" else "MapWorker"
    for one in below:
        if mark in _said(one):
            one.kill()
            return True
    return False


def _said(process: psutil.Process) -> str:
    """How a process calls itself: Ray's workers say what they do in place of their command."""
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.Error:
        return ""


def _end(job: Job) -> None:
    """A driver that lost its raylet may wait for ever: it is killed, and the same command goes on."""
    try:
        code = job.process.wait(60)
    except subprocess.TimeoutExpired:
        job.process.kill()
        code = job.process.wait()
    assert code in (0, 1, KILLED) or code < 0, f"the job ended with {code}"


def _staged(folder: Path, store: on_s3.Store | None) -> int:
    if store is not None:
        return on_s3.staged(store, folder)
    return len(list((folder / "catalogs").glob("_staging/*/receipts/[!.]*.json")))


def own_clusters(folder: Path) -> Cluster:
    """Every job starts its own cluster, with a token beside the drills."""
    token = folder / "token"
    if not token.exists():
        token.write_text(os.urandom(32).hex())
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return Cluster(environment=environment | {"RAY_AUTH_TOKEN_PATH": str(token)})
