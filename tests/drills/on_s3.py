"""Drills into a bucket, over a network where one request in ten fails: killed at drawn requests or instants.

The server and its bad network are a process of their own, and the drills look at the bucket with boto3 alone:
a process that has talked to a server through s3fs must not fork.
"""

import json
import math
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.drills.death import Death
from tests.drills.forked import Child, End, run_forked, start_forked
from tests.drills.local import DEATHS, Outcome, Undisturbed, judge, killed_until_done, made_of
from tests.drills.s3 import BUCKET
from tests.drills.scene import Scene
from tests.s3_server import fill, listed, objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Where the server is, and where the bad network to it begins."""

    server: str
    proxy: str


@contextmanager
def bad_store(seed: int) -> Iterator[Store]:
    """A server behind a bad network, for as long as the block takes."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    words = [sys.executable, "-m", "tests.drills.s3", str(seed)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield Store(**json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()


def undisturbed(scene: Scene, store: Store) -> Undisturbed:
    """Run once without any death; AssertionError with its log where that fails."""
    folder = place(scene, store, "s3-undisturbed")
    end = attempt(scene, store, folder, Death(kind="request", at=math.inf))
    assert end.code == 0, (folder / "log").read_text()
    return made_of(scene, brought(store, folder), end)


def drill(scene: Scene, store: Store, usual: Undisturbed, seed: int, number: int) -> Outcome:
    """Kill a run up to DEATHS times at moments drawn from (seed, number), let it end, and look at it."""
    dice = random.Random(f"s3-{seed}-{number}")
    folder = place(scene, store, f"s3-{seed}-{number}")
    deaths = [drawn(dice, usual) for _ in range(dice.randint(1, DEATHS))]
    met = killed_until_done(deaths, lambda death: attempt(scene, store, folder, death), folder / "log")
    found = judge(scene, brought(store, folder), usual, number, met)
    if found.is_sound:
        shutil.rmtree(folder)
    return found


def place(scene: Scene, store: Store, name: str) -> Path:
    """The folder of a drill, and its part of the bucket, as they are before the run."""
    folder = scene.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if scene.older is not None:
        fill(store.server, BUCKET, scene.older, f"{name}/")
    return folder


def attempt(scene: Scene, store: Store, folder: Path, death: Death | None) -> End:
    """One call of the same command."""
    return run_forked(_words(scene, store, folder), death, heard=folder, log=folder / "log")


def begin(scene: Scene, store: Store, folder: Path, death: Death | None, log: Path) -> Child:
    """The same command, under way."""
    return start_forked(_words(scene, store, folder), death, heard=folder, log=log)


def _words(scene: Scene, store: Store, folder: Path) -> list[str]:
    spec, profile = scene.write(address(folder), folder, "local", endpoint=store.proxy)
    return ["run", str(spec), "--profile", str(profile)]


def address(folder: Path) -> str:
    """Where the catalogs of a drill lie in the bucket."""
    return f"s3://{BUCKET}/{folder.name}"


def brought(store: Store, folder: Path) -> Path:
    """What the bucket holds of a drill, as a folder."""
    root = folder / "catalogs"
    for name, content in objects(store.server, BUCKET, f"{folder.name}/").items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def staged(store: Store, folder: Path) -> int:
    """How many receipts of a drill are there."""
    return sum("/receipts/" in key for key in listed(store.server, BUCKET, f"{folder.name}/_staging/"))


def drawn(dice: random.Random, usual: Undisturbed) -> Death:
    """A death in a run like the undisturbed one."""
    if dice.random() < 0.7:
        return Death(kind="request", at=dice.randint(1, usual.operations))
    return Death(kind="instant", at=dice.uniform(0, usual.seconds))
