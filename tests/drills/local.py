"""Drills on the local runtime: killed at drawn moments, resumed by the same command, then compared."""

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from catalogs import open_catalog, verify
from tests.drills.death import Death
from tests.drills.forked import End, run_forked
from tests.drills.scene import Scene
from tests.flows.bytes import fingerprint

KILLED = -9
DEATHS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Undisturbed:
    """What a run that nothing disturbs makes, and what it takes."""

    bytes: dict[str, str]
    keys: frozenset[tuple[object, ...]]
    tasks: int
    operations: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a drill found: the deaths that were met, rows that got lost or doubled, files that differ."""

    kind: str
    drill: int
    deaths: tuple[str, ...]
    lost: int
    doubled: int
    differing: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Was the catalog that of the undisturbed run?"""
        return not (self.lost or self.doubled or self.differing)


def undisturbed(scene: Scene) -> Undisturbed:
    """Run once without any death; AssertionError with its log where that fails."""
    folder = scene.folder / "undisturbed"
    shutil.rmtree(folder, ignore_errors=True)
    end = attempt(scene, folder, None)
    assert end.code == 0, (folder / "log").read_text()
    root = folder / "catalogs"
    return Undisturbed(
        bytes=prints(root),
        keys=frozenset(keys(root)),
        tasks=len(list(root.glob("_staging/*/receipts/*.json"))),
        operations=end.operations,
        seconds=end.seconds,
    )


def drill(scene: Scene, usual: Undisturbed, seed: int, number: int) -> Outcome:
    """Kill a run up to DEATHS times at moments drawn from (seed, number), let it end, and look at it."""
    dice = random.Random(f"{seed}-{number}")
    folder = scene.folder / f"drill-{seed}-{number}"
    shutil.rmtree(folder, ignore_errors=True)
    deaths = [_drawn(dice, usual) for _ in range(dice.randint(1, DEATHS))]
    met = killed_until_done(deaths, lambda death: attempt(scene, folder, death), folder / "log")
    found = judge(folder / "catalogs", usual, "local", number, met)
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
        met.append(f"{death.kind} {death.at:.4g}")
    return met


def attempt(scene: Scene, folder: Path, death: Death | None) -> End:
    """One call of the same command."""
    spec, profile = scene.write(folder / "catalogs", folder, "local")
    words = ["run", str(spec), "--profile", str(profile)]
    return run_forked(words, death, heard=folder / "catalogs", log=folder / "log")


def judge(root: Path, usual: Undisturbed, kind: str, number: int, deaths: Sequence[str]) -> Outcome:
    """Verify both catalogs of a drill and hold them against the undisturbed ones."""
    verify(root / "drill" / "1")
    rows, bytes_now = keys(root), prints(root)
    names = sorted({*bytes_now, *usual.bytes})
    return Outcome(
        kind=kind,
        drill=number,
        deaths=tuple(deaths),
        lost=len(usual.keys - set(rows)),
        doubled=len(rows) - len(set(rows)),
        differing=tuple(name for name in names if bytes_now.get(name) != usual.bytes.get(name)),
    )


def keys(root: Path) -> list[tuple[object, ...]]:
    """Every row's full key."""
    catalog = open_catalog(root / "drill" / "1")
    columns = ", ".join(catalog.manifest["keys"])
    files = [str(path) for path in (root / "drill" / "1" / "dataset").rglob("Npix=*.parquet")]
    return duckdb.sql(f"SELECT {columns} FROM read_parquet({files})").fetchall()


def prints(root: Path) -> dict[str, str]:
    """The fingerprints of the main and the side catalog."""
    return {
        f"{name}/{file}": digest
        for name in ("drill", "drill-side")
        for file, digest in fingerprint(root / name / "1").items()
    }


def _drawn(dice: random.Random, usual: Undisturbed) -> Death:
    kind = dice.choices(("operation", "power", "instant"), (4, 3, 3))[0]
    if kind == "instant":
        return Death(kind="instant", at=dice.uniform(0, usual.seconds))
    return Death(kind="power" if kind == "power" else "operation", at=dice.randint(1, usual.operations))
