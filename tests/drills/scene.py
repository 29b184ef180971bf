"""A small run that drills disturb: a simulated survey, a bundle and the spec of a catalog."""

from dataclasses import dataclass
from pathlib import Path

import tomli_w

from engine.simulate import simulate_desi
from engine.spec import RunSpec, Sampling
from tests.bundles import write_bundle

SAMPLING = Sampling(draws=6, seed=3)


@dataclass(frozen=True, slots=True)
class Scene:
    """Where survey and bundle are; catalogs and specs of single drills lie beside them."""

    folder: Path

    def spec(self, root: Path | str, endpoint: str | None = None) -> RunSpec:
        """The same run with its catalog under another root, which no digest depends on."""
        storage = {} if endpoint is None else {"storage": {"endpoint": endpoint, "region": "us-east-1"}}
        plain = {
            "survey": {"name": "desi", "root": self.folder / "survey", "select": {"by": "all"}},
            "model": {"bundle": self.folder / "bundle"},
            "sampling": SAMPLING.model_dump(),
            "tasks": {"rows": 25},
            "catalog": {"name": "drill", "version": "1", "root": root, "side": ["covariance"], **storage},
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
    return Scene(folder)
