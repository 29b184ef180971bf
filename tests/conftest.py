"""Fixtures that several kinds of tests share, all made in code."""

import os
import secrets
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from engine.spec import RunSpec, Sampling, SurveySpec
from tests.bundles import write_bundle

SAMPLING = Sampling(draws=6, seed=3)
# Ray's workers are nice to others, so that beside other processes of tests they would get nothing done.
os.environ.setdefault("RAY_worker_niceness", "0")
# How long an example takes says what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# What signs requests to the tests' own servers.
S3_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


class ByFile(LoadScopeScheduling):
    """With several processes a file's tests stay together, and so do the files that need the Ray session."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "ray" if "mark.ray" in Path(self.config.rootpath, file).read_text() else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """How xdist shares out the tests."""
    return ByFile(config, log)


def realdata_root() -> Path | None:
    """$ABUNDANT_REALDATA, else ../shared/realdata beside the repository; None where neither is there."""
    named = os.environ.get("ABUNDANT_REALDATA")
    root = Path(named) if named else Path(__file__).parents[2] / "shared" / "realdata"
    return root if root.is_dir() else None


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real survey files; skips the test, with the reason, where there is none."""
    root = realdata_root()
    if root is None:
        pytest.skip("no real data: set ABUNDANT_REALDATA to the folder that holds desi/, apogee/, …")
    return root


@pytest.fixture(scope="session")
def survey_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated DESI survey of 240 stars in six or more coadds, with sky, galaxies and dead fibres."""
    from engine.simulate import simulate_desi

    root = tmp_path_factory.mktemp("desi") / "survey"
    simulate_desi(root, stars=240, seed=7, resolution=False, stars_per_file=40)
    return root


@pytest.fixture(scope="session")
def simulated(survey_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SurveySpec]:
    """A spec of every row of a simulated survey, by name; each is simulated once."""
    from engine.simulate import SIMULATORS
    from engine.simulate.surveys.table import TABLE_COLUMNS

    @cache
    def make(name: str) -> SurveySpec:
        root = survey_root
        if name != "desi":
            root = tmp_path_factory.mktemp(name) / "survey"
            SIMULATORS[name](root, stars=48, seed=5)
        plain = {"name": name, "root": root, "select": {"by": "all"}}
        if name == "table":
            plain |= {"root": root / "spectra", "table": TABLE_COLUMNS}
        return SurveySpec.model_validate(plain)

    return make


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small calibrated bundle with random weights."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "random", sampling=SAMPLING)


@pytest.fixture
def run_spec(survey_root: Path, bundle: Path, tmp_path: Path) -> Callable[..., RunSpec]:
    """Make a run spec on the simulated survey; sections can be given to differ from the defaults."""

    def make(**sections: dict[str, object]) -> RunSpec:
        plain: dict[str, dict[str, object]] = {
            "survey": {"name": "desi", "root": survey_root, "select": {"by": "all"}},
            "model": {"bundle": bundle},
            "sampling": SAMPLING.model_dump(),
            "tasks": {"rows": 25},
            "catalog": {"name": "test", "version": "1", "root": tmp_path / "catalogs"},
        }
        for name, section in sections.items():
            plain[name] = plain.get(name, {}) | section
        return RunSpec.model_validate(plain)

    return make


@pytest.fixture(scope="session")
def ray_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The one Ray session of all Ray tests: four logical CPUs and a GPU on paper, on loopback, with a token.

    Its workers take their environment from here, and with it the keys to the tests' buckets.
    """
    folder = tmp_path_factory.mktemp("ray")
    (folder / "token").write_text(secrets.token_hex(32))
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(folder / "token")
    import ray

    with pytest.MonkeyPatch.context() as patch:
        for name, value in S3_KEYS.items():
            patch.setenv(name, value)
        ray.init(
            num_cpus=4, num_gpus=1, include_dashboard=False, log_to_driver=False, logging_level="warning"
        )
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shard index of tests is not the user's."""
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
