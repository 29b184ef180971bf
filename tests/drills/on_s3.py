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
from tests.drills.forked import End, run_forked
from tests.drills.local import DEATHS, Outcome, Undisturbed, judge, keys, killed_until_done, prints
from tests.drills.s3 import BUCKET
from tests.drills.scene import Scene
from tests.s3_server import objects


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
    folder = scene.folder / "s3-undisturbed"
    shutil.rmtree(folder, ignore_errors=True)
    end = attempt(scene, store, folder, Death(kind="request", at=math.inf))
    assert end.code == 0, (folder / "log").read_text()
    root = brought(store, folder)
    return Undisturbed(
        bytes=prints(root),
        keys=frozenset(keys(root)),
        tasks=0,
        operations=end.operations,
        seconds=end.seconds,
    )


def drill(scene: Scene, store: Store, usual: Undisturbed, seed: int, number: int) -> Outcome:
    """Kill a run up to DEATHS times at moments drawn from (seed, number), let it end, and look at it."""
    dice = random.Random(f"s3-{seed}-{number}")
    folder = scene.folder / f"s3-{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    deaths = [_drawn(dice, usual) for _ in range(dice.randint(1, DEATHS))]
    met = killed_until_done(deaths, lambda death: attempt(scene, store, folder, death), folder / "log")
    found = judge(brought(store, folder), usual, "s3", number, met)
    if found.is_sound:
        shutil.rmtree(folder)
    return found


def attempt(scene: Scene, store: Store, folder: Path, death: Death | None) -> End:
    """One call of the same command."""
    root = f"s3://{BUCKET}/{folder.name}"
    spec, profile = scene.write(root, folder, "local", endpoint=store.proxy)
    words = ["run", str(spec), "--profile", str(profile)]
    return run_forked(words, death, heard=folder, log=folder / "log")


def brought(store: Store, folder: Path) -> Path:
    """What the bucket holds of a drill, as a folder."""
    root = folder / "catalogs"
    for name, content in objects(store.server, BUCKET, f"{folder.name}/").items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def _drawn(dice: random.Random, usual: Undisturbed) -> Death:
    if dice.random() < 0.7:
        return Death(kind="request", at=dice.randint(1, usual.operations))
    return Death(kind="instant", at=dice.uniform(0, usual.seconds))
