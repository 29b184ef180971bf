"""Drills on the local runtime: killed at drawn moments, resumed by the same command, then compared."""

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from catalogs import open_catalog, verify
from tests.drills.death import Death
from tests.drills.forked import Child, End, run_forked, start_forked
from tests.drills.scene import Scene
from tests.flows.bytes import fingerprint, hashes

KILLED = -9
DEATHS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """What a run that nothing disturbs makes, and what it takes. `older` is what was there before."""

    bytes: dict[str, str]
    keys: frozenset[tuple[object, ...]]
    older: dict[str, str]
    tasks: int
    operations: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a drill found: the deaths that were met, rows that got lost or doubled, files that differ.

    `refused` counts drivers that were told that another one drives, `left` leases that outlived them.
    """

    drill: int
    deaths: tuple[str, ...]
    lost: int
    doubled: int
    differing: tuple[str, ...]
    refused: int = 0
    left: int = 0

    @property
    def is_sound(self) -> bool:
        """Was the catalog that of the undisturbed run, what was there before as before, and all let go?"""
        return not (self.lost or self.doubled or self.differing or self.left)


def undisturbed(scene: Scene) -> Undisturbed:
    """Run once without any death; AssertionError with its log where that fails."""
    folder = scene.folder / "undisturbed"
    shutil.rmtree(folder, ignore_errors=True)
    scene.prepare(folder / "catalogs")
    end = attempt(scene, folder, None)
    assert end.code == 0, (folder / "log").read_text()
    return made_of(scene, folder / "catalogs", end)


def made_of(scene: Scene, root: Path, end: End) -> Undisturbed:
    """What the run that ended so has made under `root`."""
    return Undisturbed(
        bytes=prints(scene, root),
        keys=frozenset(keys(scene, root)),
        older={} if scene.older is None else older(scene, scene.older),
        tasks=len(list(root.glob(f"_staging/drill-{scene.version}-*/receipts/*.json"))),
        operations=end.operations,
        seconds=end.seconds,
    )


def drill(scene: Scene, usual: Undisturbed, seed: int, number: int) -> Outcome:
    """Kill a run up to DEATHS times at moments drawn from (seed, number), let it end, and look at it."""
    dice = random.Random(f"{seed}-{number}")
    folder = scene.folder / f"drill-{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    scene.prepare(folder / "catalogs")
    deaths = [drawn(dice, usual) for _ in range(dice.randint(1, DEATHS))]
    met = killed_until_done(deaths, lambda death: attempt(scene, folder, death), folder / "log")
    found = judge(scene, folder / "catalogs", usual, number, met)
    if found.is_sound:
        shutil.rmtree(folder)
    return found


def killed_until_done(deaths: Sequence[Death], again: Callable[[Death | None], End], log: Path) -> list[str]:
    """The same command again and again, each time with the next death; which of them were met.

    AssertionError, with the log, where a job ends otherwise than by its death or done.
    """
    met = list[str]()
    for death in [*deaths, None]:
        end = again(death)
        if end.code == 0:
            break
        assert death is not None and end.code == KILLED, log.read_text()
        met.append(str(death))
    return met


def attempt(scene: Scene, folder: Path, death: Death | None) -> End:
    """One call of the same command."""
    return run_forked(_words(scene, folder), death, heard=folder / "catalogs", log=folder / "log")


def begin(scene: Scene, folder: Path, death: Death | None, log: Path) -> Child:
    """The same command, under way."""
    return start_forked(_words(scene, folder), death, heard=folder / "catalogs", log=log)


def _words(scene: Scene, folder: Path) -> list[str]:
    spec, profile = scene.write(folder / "catalogs", folder, "local")
    return ["run", str(spec), "--profile", str(profile)]


def judge(scene: Scene, root: Path, usual: Undisturbed, number: int, deaths: Sequence[str]) -> Outcome:
    """Verify a drill's catalogs and hold them against the undisturbed ones, older ones against before."""
    verify(root / "drill" / scene.version)
    rows, bytes_now = keys(scene, root), prints(scene, root)
    before = usual.bytes | usual.older
    now = bytes_now | (older(scene, root) if usual.older else {})
    names = sorted({*now, *before})
    return Outcome(
        drill=number,
        deaths=tuple(deaths),
        lost=len(usual.keys - set(rows)),
        doubled=len(rows) - len(set(rows)),
        differing=tuple(name for name in names if now.get(name) != before.get(name)),
    )


def keys(scene: Scene, root: Path) -> list[tuple[object, ...]]:
    """Every row's full key."""
    catalog = open_catalog(root / "drill" / scene.version)
    columns = ", ".join(catalog.manifest["keys"])
    files = [str(path) for path in (root / "drill" / scene.version / "dataset").rglob("Npix=*.parquet")]
    return duckdb.sql(f"SELECT {columns} FROM read_parquet({files})").fetchall()


def prints(scene: Scene, root: Path) -> dict[str, str]:
    """The fingerprints of the main and the side catalog."""
    return _prints(scene.version, root, fingerprint)


def older(scene: Scene, root: Path) -> dict[str, str]:
    """The sha256 of every file of the version that is followed, manifests and all."""
    assert scene.follows is not None
    return _prints(scene.follows, root, hashes)


def _prints(version: str, root: Path, of: Callable[[Path], dict[str, str]]) -> dict[str, str]:
    return {
        f"{name}/{version}/{file}": digest
        for name in ("drill", "drill-side")
        for file, digest in of(root / name / version).items()
    }


def drawn(dice: random.Random, usual: Undisturbed) -> Death:
    """A death in a run like the undisturbed one."""
    kind = dice.choices(("operation", "power", "instant"), (4, 3, 3))[0]
    if kind == "instant":
        return Death(kind="instant", at=dice.uniform(0, usual.seconds))
    return Death(kind="power" if kind == "power" else "operation", at=dice.randint(1, usual.operations))
