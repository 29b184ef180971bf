"""Two drivers on one run: one wins, the other says so, nothing is harmed, even if one of them is killed."""

import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tests.drills import local, on_s3
from tests.drills.death import Death
from tests.drills.forked import Child, End
from tests.drills.local import KILLED, Outcome, Undisturbed, judge
from tests.drills.scene import Scene

# By a process, or by whoever it was: over a bad network, or when it has just let go.
REFUSED = "this run is being driven by"
Begin = Callable[[Death | None, Path], Child]


def drill(scene: Scene, usual: Undisturbed, seed: int, number: int) -> Outcome:
    """Two drivers on a disk, at moments drawn from (seed, number); the same command ends what they left."""
    dice = random.Random(f"pair-{seed}-{number}")
    folder = scene.folder / f"pair-{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()

    def begin(death: Death | None, log: Path) -> Child:
        return local.begin(scene, folder, death, log)

    met, refused = _both(begin, dice, usual, local.drawn(dice, usual), folder)
    found = judge(scene, folder / "catalogs", usual, number, met)
    return _tidied(replace(found, refused=refused, left=_leases(folder / "catalogs")), folder)


def drill_s3(scene: Scene, store: on_s3.Store, usual: Undisturbed, seed: int, number: int) -> Outcome:
    """The same into a bucket, over a bad network."""
    dice = random.Random(f"pair-s3-{seed}-{number}")
    folder = on_s3.place(scene, store, f"pair-s3-{seed}-{number}")

    def begin(death: Death | None, log: Path) -> Child:
        return on_s3.begin(scene, store, folder, death, log)

    met, refused = _both(begin, dice, usual, on_s3.drawn(dice, usual), folder)
    root = on_s3.brought(store, folder)
    found = judge(scene, root, usual, number, met)
    return _tidied(replace(found, refused=refused, left=_leases(root)), folder)


def _both(
    begin: Begin, dice: random.Random, usual: Undisturbed, death: Death, folder: Path
) -> tuple[list[str], int]:
    """The deaths that were met, and how many drivers were refused, until one has done the run.

    In half of the drills both start at once; in two of three one of them is to die.
    """
    pause = dice.choice((0.0, dice.uniform(0, usual.seconds)))
    deaths = dice.choice(((None, None), (death, None), (None, death)))
    logs = folder / "log-first", folder / "log-second"
    first = begin(deaths[0], logs[0])
    time.sleep(pause)
    ends = _ends([first, begin(deaths[1], logs[1])])
    told = [_checked(*one) for one in zip(ends, deaths, logs, strict=True)]
    if all(end.code for end in ends):
        assert death in deaths, "of two drivers that lived none has done the run"
        last = begin(None, folder / "log-last").ended(wait=True)
        assert last is not None and last.code == 0, (folder / "log-last").read_text()
    return [str(death) for end in ends if end.code == KILLED], sum(told)


def _ends(children: Sequence[Child]) -> list[End]:
    """How they ended. Each is asked all the time: who is dead and not yet asked looks alive to the other."""
    ends: list[End | None] = [None] * len(children)
    while None in ends:
        time.sleep(0.005)
        ends = [end or child.ended(wait=False) for end, child in zip(ends, children, strict=True)]
    return [end for end in ends if end is not None]


def _checked(end: End, death: Death | None, log: Path) -> bool:
    """Was this driver told that another one drives? AssertionError where it ended in any other way."""
    if end.code == 0 or (end.code == KILLED and death is not None):
        return False
    assert end.code == 1 and REFUSED in " ".join(log.read_text().split()), log.read_text()
    return True


def _leases(root: Path) -> int:
    return len(list(root.glob("_staging/*/lease*.json")))


def _tidied(found: Outcome, folder: Path) -> Outcome:
    if found.is_sound:
        shutil.rmtree(folder)
    return found
