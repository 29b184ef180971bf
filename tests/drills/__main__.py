"""`python -m tests.drills`: the long version. Drills that are done are kept; the same command goes on."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from tests.drills import on_ray, on_s3, pairs
from tests.drills.local import Outcome, drill, undisturbed
from tests.drills.scene import Scene, make_releases, make_scene

Perform = Callable[[int], Outcome]
# How many drills of each kind the long version makes; the slowest last.
MANY = {
    "local": 200,
    "following": 40,
    "pairs": 30,
    "s3": 50,
    "following-s3": 10,
    "pairs-s3": 10,
    "ray": 20,
    "ray-s3": 4,
}


def main() -> int:
    """Make the drills that are not yet in the record; 1 if any catalog differed."""
    parser = argparse.ArgumentParser(prog="python -m tests.drills", description=__doc__)
    parser.add_argument("kinds", nargs="*", default="all", choices=["all", *MANY])
    parser.add_argument("--drills", type=int, help="of each kind; as many as the long version if not given")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", type=Path, default=Path("/tmp/abundant-drills"))
    asked = parser.parse_args()
    os.environ["ABUNDANT_CACHE"] = str(asked.dir / "cache")
    asked.dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as servers:
        asked_for = [
            (kind, asked.drills or MANY[kind]) for kind in (MANY if "all" in asked.kinds else asked.kinds)
        ]
        sound = [_drills(kind, many, asked.seed, asked.dir, servers) for kind, many in asked_for]
    return 0 if all(sound) else 1


def _drills(kind: str, many: int, seed: int, folder: Path, servers: ExitStack) -> bool:
    record = folder / f"{kind}-{seed}.jsonl"
    done = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    perform = KINDS[kind](folder, seed, servers)
    started = time.monotonic()
    for number in sorted(set(range(many)) - {one["drill"] for one in done}):
        outcome = asdict(perform(number))
        done.append(outcome)
        with record.open("a") as stream:
            stream.write(json.dumps(outcome) + "\n")
        _say(f"{kind} {number + 1}/{many}: {', '.join(outcome['deaths']) or 'met no death'}")
    wrong = [one for one in done if one["lost"] or one["doubled"] or one["differing"] or one["left"]]
    sums = {key: sum(one[key] for one in done) for key in ("refused", "lost", "doubled", "left")}
    deaths, differing = (sum(len(one[key]) for one in done) for key in ("deaths", "differing"))
    _say(
        f"{kind}: {len(done)} drills, {deaths} deaths, {sums['refused']} drivers refused, "
        f"rows lost {sums['lost']}, doubled {sums['doubled']}, leases left {sums['left']}, "
        f"files that differ {differing} ({time.monotonic() - started:.0f} s); {record}"
    )
    return not wrong


def _local(folder: Path, seed: int, _servers: ExitStack) -> Perform:
    scene = _scene(folder)
    usual = undisturbed(scene)
    return lambda number: drill(scene, usual, seed, number)


def _following(folder: Path, seed: int, _servers: ExitStack) -> Perform:
    scene = _later(folder)
    usual = undisturbed(scene)
    return lambda number: drill(scene, usual, seed, number)


def _pairs(folder: Path, seed: int, _servers: ExitStack) -> Perform:
    scene = _scene(folder)
    usual = undisturbed(scene)
    return lambda number: pairs.drill(scene, usual, seed, number)


def _on_ray(folder: Path, seed: int, _servers: ExitStack) -> Perform:
    scene, cluster = _scene(folder), on_ray.own_clusters(folder)
    usual = undisturbed(scene)
    return lambda number: on_ray.drill(scene, usual, cluster, seed, number)


def _on_s3(folder: Path, seed: int, servers: ExitStack) -> Perform:
    return _drilled_on_s3(_scene(folder), seed, servers)


def _following_on_s3(folder: Path, seed: int, servers: ExitStack) -> Perform:
    return _drilled_on_s3(_later(folder), seed, servers)


def _drilled_on_s3(scene: Scene, seed: int, servers: ExitStack) -> Perform:
    store = servers.enter_context(on_s3.bad_store(seed))
    usual = on_s3.undisturbed(scene, store)
    return lambda number: on_s3.drill(scene, store, usual, seed, number)


def _pairs_on_s3(folder: Path, seed: int, servers: ExitStack) -> Perform:
    scene, store = _scene(folder), servers.enter_context(on_s3.bad_store(seed))
    usual = on_s3.undisturbed(scene, store)
    return lambda number: pairs.drill_s3(scene, store, usual, seed, number)


def _ray_on_s3(folder: Path, seed: int, servers: ExitStack) -> Perform:
    scene, store = _scene(folder), servers.enter_context(on_s3.bad_store(seed))
    usual, cluster = undisturbed(scene), on_ray.own_clusters(folder)
    return lambda number: on_ray.drill(scene, usual, cluster, seed, number, store)


def _scene(folder: Path) -> Scene:
    _import_all()
    return make_scene(folder / "scene", stars=240)


def _later(folder: Path) -> Scene:
    """The run of version 2, with version 1 published."""
    first, second = make_releases(_scene(folder))
    undisturbed(first)
    return second


def _import_all() -> None:
    """What a job imports, so that forked ones need not."""
    import hats.io.validation  # noqa: F401
    import torch

    import jobs.cli
    import jobs.run

    torch.set_num_threads(1)
    assert jobs.cli.app is not None and jobs.run.run is not None


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


KINDS: dict[str, Callable[[Path, int, ExitStack], Perform]] = {
    "local": _local,
    "following": _following,
    "pairs": _pairs,
    "s3": _on_s3,
    "following-s3": _following_on_s3,
    "pairs-s3": _pairs_on_s3,
    "ray": _on_ray,
    "ray-s3": _ray_on_s3,
}


if __name__ == "__main__":
    sys.exit(main())
