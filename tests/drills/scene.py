"""The runs that drills disturb: a simulated survey, a bundle and a catalog; and a release that follows it."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tomli_w
from astropy.io import fits

from engine.simulate import simulate_desi
from engine.spec import RunSpec, Sampling
from tests.bundles import write_bundle
from tests.flows.damage import edit

SAMPLING = Sampling(draws=6, seed=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One run, whose catalogs and specs in single drills lie in `folder`.

    A release that `follows` a version finds the catalogs of `older` in its place.
    """

    folder: Path
    survey: Path
    bundle: Path
    version: str = "1"
    follows: str | None = None
    older: Path | None = None

    def prepare(self, catalogs: Path) -> None:
        """Put what is there before the run into its place."""
        if self.older is not None:
            shutil.copytree(self.older, catalogs)

    def spec(self, root: Path | str, endpoint: str | None = None) -> RunSpec:
        """The same run with its catalog under another root, which no digest depends on."""
        storage = {} if endpoint is None else {"storage": {"endpoint": endpoint, "region": "us-east-1"}}
        follows = {} if self.follows is None else {"follows": self.follows}
        catalog = {"name": "drill", "version": self.version, "root": root, "side": ["covariance"]}
        plain = {
            "survey": {"name": "desi", "root": self.survey, "select": {"by": "all"}},
            "model": {"bundle": self.bundle},
            "sampling": SAMPLING.model_dump(),
            "tasks": {"rows": 25},
            "catalog": {**catalog, **follows, **storage},
        }
        return RunSpec.model_validate(plain)

    def write(
        self, root: Path | str, folder: Path, runtime: str, *, endpoint: str | None = None
    ) -> tuple[Path, Path]:
        """Spec and profile of a drill as files."""
        folder.mkdir(parents=True, exist_ok=True)
        spec, profile = folder / "run.toml", folder / "profile.toml"
        plain = self.spec(root, endpoint).model_dump(mode="json", by_alias=True, exclude_unset=True)
        spec.write_text(tomli_w.dumps(plain))
        actors = "actors = 2\n" if runtime == "ray_data" else ""
        profile.write_text(f'runtime = "{runtime}"\n{actors}')
        return spec, profile


def make_scene(folder: Path, stars: int) -> Scene:
    """Simulate the survey and write the bundle, unless they are there."""
    if not (folder / "made").exists():
        simulate_desi(folder / "survey", stars=stars, seed=7, resolution=False, stars_per_file=40)
        write_bundle(folder / "bundle", sampling=SAMPLING)
        (folder / "made").touch()
    return Scene(folder=folder, survey=folder / "survey", bundle=folder / "bundle")


def make_releases(scene: Scene) -> tuple[Scene, Scene]:
    """The run of version 1, and that of version 2, which follows it once the first was published.

    Half of the files lie far from the others on the sky and stay as they are: their partition is taken over.
    Of the others one comes, one changes, one goes, one stays.
    """
    folder = scene.folder / "releases"
    early, late = folder / "early", folder / "late"
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(scene.survey, early)
        comes, changes, goes, _, *far = sorted(early.rglob("coadd-*.fits"))
        for path in far:
            edit(path, _move_far)
        shutil.copytree(early, late)
        _remove(comes)
        _remove(late / goes.relative_to(early))
        edit(late / changes.relative_to(early), _brighten)
        (folder / "made").touch()
    first = replace(scene, folder=folder / "first", survey=early)
    older = first.folder / "undisturbed" / "catalogs"
    second = replace(scene, folder=folder / "second", survey=late, version="2", follows="1", older=older)
    return first, second


def _move_far(hdus: fits.HDUList) -> None:
    table = hdus["FIBERMAP"]
    table.data["TARGET_RA"] = (table.data["TARGET_RA"] + 180.0) % 360.0
    table.header.pop("DATASUM", None)


def _brighten(hdus: fits.HDUList) -> None:
    for name in ("B_FLUX", "R_FLUX", "Z_FLUX"):
        hdus[name].data = hdus[name].data * np.float32(1.5)
        hdus[name].header.pop("DATASUM", None)


def _remove(coadd: Path) -> None:
    coadd.unlink()
    coadd.with_name(coadd.name.replace("coadd-", "redrock-")).unlink()
