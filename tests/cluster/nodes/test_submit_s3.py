"""A run whose catalog is in a bucket that the cluster may see, and whoever submits may not, at first."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.plan import make_plan
from engine.spec import Profile, RunSpec
from engine.toml import load
from jobs.run import run
from jobs.submit.named import load_spec, run_of
from tests.cluster.nodes.raylets import REPOSITORY, Raylets, raylets
from tests.cluster.nodes.test_submit import LONG, words_of
from tests.conftest import S3_KEYS
from tests.drills.local import prints
from tests.drills.on_s3 import Store, address, brought
from tests.drills.s3 import BUCKET
from tests.drills.scene import Scene, make_scene
from tests.flows.command import Abundant, in_process
from tests.s3_server import listed, make_bucket, running

pytestmark = LONG


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running() as server:
        make_bucket(server.address, BUCKET)
        yield Store(server=server.address, proxy=server.address)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[Raylets]:
    """Its nodes know who they are, as a platform's machines do."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in S3_KEYS.items():
            patch.setenv(name, value)
        with raylets(tmp_path_factory.mktemp("cluster"), cpus=2) as found:
            yield found


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return make_scene(tmp_path / "scene", stars=240)


@pytest.fixture
def abundant(
    cluster: Raylets, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Abundant:
    """A command of somebody who may see the bucket."""
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", cluster.environment["RAY_AUTH_TOKEN_PATH"])
    for name, value in S3_KEYS.items():
        monkeypatch.setenv(name, value)
    return in_process(monkeypatch, capsys)


def test_a_run_into_a_bucket_is_submitted_unseen_stopped_and_gone_on_with(
    cluster: Raylets, store: Store, scene: Scene, abundant: Abundant, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = scene.folder / "submitted"
    spec, profile = scene.write(address(folder), folder, "ray_data", endpoint=store.server)
    # Long enough to be met under way: tasks of four rows, many draws.
    spec.write_text(spec.read_text().replace("rows = 25", "rows = 4").replace("draws = 6", "draws = 1000"))
    profile.write_text(f'actors = 2\naddress = "{cluster.dashboard}"\n')
    told = _from_a_laptop(cluster, "submit", spec, "--profile", profile, "--no-follow")
    assert f"Not seen from this machine: {address(folder)}. The cluster will check the plan." in told
    refused = _from_a_laptop(cluster, "logs", spec, code=1)
    assert "no credentials are known here" in refused
    _until(lambda: len(_keys(store, folder, "/receipts/")) > 2)

    monkeypatch.setenv("AWS_ENDPOINT_URL", store.server)
    # A folder's name does not say how its server is reached: the environment does.
    for name in (spec, run_of(load_spec(spec)).place):
        assert "is running" in abundant("logs", name).err
    again = abundant("submit", spec, "--profile", profile, "--no-follow")
    assert "under way already" in again.err
    assert "was stopped; what is done is kept" in abundant("stop", spec).err
    after = abundant("status", spec).out
    assert "the same command goes on" in after and " 0 left" not in after
    ended = abundant("submit", spec, "--profile", profile)
    assert ended.code == 0 and "Resuming:" in ended.out, ended.out + ended.err

    local = scene.folder / "local"
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    at_home = load(spec, RunSpec).model_copy(update={"catalog": scene.spec(local).catalog})
    run(make_plan(at_home), Profile(runtime="local"))
    assert prints(scene, brought(store, folder)) == prints(scene, local)
    assert len(_keys(store, folder, "/job.json")) == 1 and not _keys(store, folder, "/lease")


def _from_a_laptop(cluster: Raylets, *words: object, code: int = 0) -> str:
    """What a command says, called where no key to the bucket is."""
    own = {name: value for name, value in cluster.environment.items() if not name.startswith("AWS_")}
    # No credentials of a machine in a cloud either.
    own |= {"AWS_EC2_METADATA_DISABLED": "true", "COLUMNS": "400"}
    done = subprocess.run(
        words_of(*words), env=own, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return " ".join(done.stderr.split())


def _keys(store: Store, folder: Path, part: str) -> list[str]:
    return [key for key in listed(store.server, BUCKET, f"{folder.name}/_staging/") if part in key]


def _until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.1)
