"""Runs as jobs of a real cluster: handed in, followed, ended, gone on with; and nobody without its token."""

import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests
import tomli_w

from engine.errors import SpecError
from engine.plan import make_plan
from engine.runtime import ray_jobs
from engine.runtime.ray_jobs import Handed, followed, hand_in, state_of
from engine.simulate import simulate_desi
from engine.spec import Profile
from engine.toml import load
from jobs.run import run
from jobs.submit.code import pack
from tests.cluster.nodes.raylets import REPOSITORY, Raylets, raylets
from tests.cluster.nodes.relay import relay
from tests.drills.local import prints
from tests.drills.scene import Scene, make_scene
from tests.flows.command import Abundant, Outcome, in_process

# With real jobs that take a minute: `make test-cluster` runs them.
LONG = pytest.mark.skipif("ABUNDANT_LONG" not in os.environ, reason="long: run by `make test-cluster`")
VERBS, PASSWORD = ("submit", "logs", "stop"), "hunter2-hunter2"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raylets]:
    with raylets(tmp_path_factory.mktemp("cluster"), cpus=2) as found:
        yield found


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"), stars=240)


@pytest.fixture
def abundant(
    cluster: Raylets, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Abundant:
    """A command in this process, with the cluster's token and no other word of the cluster."""
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", cluster.environment["RAY_AUTH_TOKEN_PATH"])
    return in_process(monkeypatch, capsys)


def words_of(*words: object) -> list[str]:
    return [sys.executable, "-m", "jobs", *map(str, words)]


def written(scene: Scene, folder: Path, cluster: Raylets) -> tuple[Path, Path]:
    """A spec, and a profile that names the cluster."""
    spec, profile = scene.write(folder / "catalogs", folder, "ray_data")
    profile.write_text(f'actors = 2\naddress = "{cluster.dashboard}"\n')
    return spec, profile


@pytest.fixture(scope="module")
def submitted(cluster: Raylets, scene: Scene) -> tuple[Path, Outcome]:
    """A run that was submitted and followed to its end."""
    spec, profile = written(scene, scene.folder / "submitted", cluster)
    done = subprocess.run(
        words_of("submit", spec, "--profile", profile),
        env=dict(cluster.environment) | {"AWS_SECRET_ACCESS_KEY": PASSWORD},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    return spec, Outcome(done.returncode, done.stdout, done.stderr)


def staging(spec: Path) -> Path:
    [found] = (spec.parent / "catalogs" / "_staging").iterdir()
    return found


def test_a_submitted_run_is_followed_and_publishes_what_a_local_one_does(
    abundant: Abundant, scene: Scene, submitted: tuple[Path, Outcome]
) -> None:
    spec, done = submitted
    assert done.code == 0, done.err + done.out
    assert "Published and verified" in done.out
    local = scene.folder / "local"
    run(make_plan(scene.spec(local)), Profile(runtime="local"))
    assert prints(scene, spec.parent / "catalogs") == prints(scene, local)
    again = abundant("submit", spec, "--profile", spec.with_name("profile.toml"))
    assert (again.code, "Was already published" in again.err) == (0, True)
    assert "there was nothing to stop" in abundant("stop", spec).err


def test_status_needs_the_staging_alone_and_logs_the_cluster(
    cluster: Raylets,
    abundant: Abundant,
    submitted: tuple[Path, Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec, _ = submitted
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/nowhere")
    for name in (spec, staging(spec)):
        shown = abundant("status", name)
        assert shown.code == 0, shown.err
        for word in ("12 of 12 done, 0 failed, 0 left", "258 staged", ", published", cluster.dashboard):
            assert word in shown.out
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", cluster.environment["RAY_AUTH_TOKEN_PATH"])
    told = abundant("logs", staging(spec))
    assert told.code == 0 and "Published and verified" in told.out and "is done" in told.err
    with relay(int(cluster.dashboard.rpartition(":")[2])) as tunnel:
        elsewhere = abundant("logs", staging(spec), "--address", tunnel.address)
        assert elsewhere.out == told.out and f"at {tunnel.address} is done" in elsewhere.err
        ended = abundant("stop", spec, "--address", tunnel.address)
        assert f"at {tunnel.address} is done; there was nothing to stop" in ended.err
    assert "no address of a cluster" in abundant("logs", spec, "--address", "ftp://x").err


@LONG
def test_the_log_can_be_followed_again_after_ctrl_c_and_the_job_be_stopped_and_gone_on_with(
    cluster: Raylets, abundant: Abundant, scene: Scene
) -> None:
    folder = scene.folder / "stopped"
    spec, profile = written(scene, folder, cluster)
    # Long enough to be met under way: tasks of four rows, many draws.
    text = spec.read_text().replace("rows = 25", "rows = 4").replace("draws = 6", "draws = 1000")
    spec.write_text(text)
    call = words_of("submit", spec, "--profile", profile)
    with (folder / "log").open("wb") as log:
        following = subprocess.Popen(
            call, env=cluster.environment, cwd=REPOSITORY, stdout=log, stderr=log, start_new_session=True
        )
    _until(lambda: len(list(folder.glob("catalogs/_staging/*/receipts/*.json"))) > 2, folder / "log")
    with cluster.nodes[0].standing_still():
        following.send_signal(signal.SIGINT)
        assert following.wait(60) == 130
        assert "the job goes on; follow it: abundant logs" in (folder / "log").read_text()
        shown = abundant("status", spec)
        assert "last heard of" in shown.out and "dead" not in shown.out and "not published yet" in shown.out
        again = abundant("submit", spec, "--profile", profile, "--no-follow")
        assert (again.code, "under way already" in again.err) == (0, True), again.err
        assert "is running" in abundant("logs", spec).err
        stopped = abundant("stop", spec)
        assert "was stopped; what is done is kept" in stopped.err, stopped.err
    after = abundant("status", spec).out
    assert "the same command goes on" in after and " 0 left" not in after
    ended = abundant("submit", spec, "--profile", profile)
    assert ended.code == 0 and "Resuming:" in ended.out, ended.out + ended.err


def _until(ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.mark.parametrize("verb", VERBS)
def test_nobody_is_let_in_without_a_token_or_with_a_wrong_one(
    cluster: Raylets,
    abundant: Abundant,
    scene: Scene,
    submitted: tuple[Path, Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
) -> None:
    spec, profile = submitted[0], []
    if verb == "submit":
        spec, toml = written(scene, tmp_path, cluster)
        profile = ["--profile", toml]
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    none = abundant(verb, spec, *profile)
    assert (none.code, "lets nobody in without its token" in none.err) == (2, True), none.err
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    wrong = abundant(verb, spec, *profile)
    assert (wrong.code, "does not accept this token" in wrong.err) == (2, True), wrong.err
    assert not (tmp_path / "catalogs").exists()
    for said in (none, wrong):
        assert "RAY_AUTH_TOKEN_PATH" in said.err and "Traceback" not in said.err


def test_the_api_itself_refuses_and_listens_on_loopback_alone(cluster: Raylets) -> None:
    for path in ("/api/version", "/api/jobs/", "/nodes?view=summary"):
        assert requests.get(cluster.dashboard + path, timeout=10).status_code == 401
        bad = requests.get(cluster.dashboard + path, headers={"Authorization": "Bearer 0"}, timeout=10)
        assert bad.status_code == 403
    port = int(cluster.dashboard.rpartition(":")[2])
    heard = {
        c.laddr.ip for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr.port == port
    }
    assert heard == {"127.0.0.1"}


def test_no_secret_is_written_anywhere(
    cluster: Raylets, submitted: tuple[Path, Outcome], tmp_path: Path
) -> None:
    """Neither the cluster's token nor the credentials of whoever submits."""
    spec, done = submitted
    secrets = (cluster.token.encode(), PASSWORD.encode())
    kept = b"".join(path.read_bytes() for path in sorted(spec.parent.rglob("*")) if path.is_file())
    assert b'"job_id"' in kept and b"plan_digest" in kept
    told = requests.get(
        f"{cluster.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {cluster.token}"}, timeout=10
    )
    assert told.status_code == 200 and "working_dir" in told.text
    pack(tmp_path / "code.zip", {"spec.toml": spec.read_text()})
    with zipfile.ZipFile(tmp_path / "code.zip") as packed:
        names = packed.namelist()
        code = b"".join(packed.read(name) for name in names)
    assert "engine/route.py" in names and "jobs/__main__.py" in names
    assert {Path(name).suffix for name in names} == {".py", ".toml", ""}
    for where in (kept, told.content, code, (done.out + done.err).encode()):
        assert not [secret for secret in secrets if secret in where]


def test_the_packed_program_runs_by_itself(tmp_path: Path) -> None:
    """Nothing of the working tree is needed beside the zip file."""
    pack(tmp_path / "code.zip", {"spec.toml": "[catalog]\n"})
    with zipfile.ZipFile(tmp_path / "code.zip") as packed:
        packed.extractall(tmp_path / "code")
    asked = (
        "import sys, engine, importlib.metadata as about; print(engine.__file__, about.version('abundant')); "
        "from jobs.__main__ import main; sys.argv = ['abundant', 'flags']; main()"
    )
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    call = [sys.executable, "-c", asked]
    shown = subprocess.run(call, cwd=tmp_path / "code", env=clean, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith(str(tmp_path / "code" / "engine")) and "UNCALIBRATED" in shown.stdout


def test_a_cluster_that_is_not_there_is_told(
    cluster: Raylets, abundant: Abundant, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, profile = written(scene, tmp_path, cluster)
    profile.write_text('address = "http://127.0.0.1:9"\n')
    told = abundant("submit", spec, "--profile", profile)
    assert (told.code, "no cluster answers at http://127.0.0.1:9" in told.err) == (2, True), told.err
    profile.write_text("actors = 1\n")
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    assert "which cluster?" in abundant("submit", spec, "--profile", profile).err


@pytest.mark.parametrize("address", ["http://me:secret@host:8265", "http://h:8265/?token=x", "host:8265"])
def test_an_address_with_a_secret_is_refused(address: str, tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_text(tomli_w.dumps({"address": address}))
    with pytest.raises(SpecError, match="without password or token"):
        load(tmp_path / "profile.toml", Profile)


def test_a_broken_connection_is_made_again_and_no_line_is_lost_or_told_twice(
    cluster: Raylets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", cluster.environment["RAY_AUTH_TOKEN_PATH"])
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "")
    monkeypatch.setattr(ray_jobs, "PAUSE_S", 0.2)
    program = "import time\nfor i in range(60): print(f'line {i};', flush=True); time.sleep(0.1)\n"
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as code:
        code.writestr("count.py", program)
    job = Handed(
        job_id="counting",
        command=f"exec {sys.executable} count.py",
        code=tmp_path / "code.zip",
        about={},
        environment={},
    )
    told, cut = "", 0
    with relay(int(cluster.dashboard.rpartition(":")[2])) as tunnel:
        hand_in(tunnel.address, job)
        for text in followed(tunnel.address, job.job_id):
            told += text
            if f"line {5 * (cut + 1)};" in told and cut < 3:
                cut += tunnel.cut() > 0
        assert state_of(tunnel.address, job.job_id).status == "SUCCEEDED"
    assert cut > 0
    lines = [line for line in told.splitlines() if line.startswith("line")]
    assert lines == [f"line {i};" for i in range(60)]


@LONG
def test_a_training_is_submitted_too(cluster: Raylets, abundant: Abundant, tmp_path: Path) -> None:
    truth = simulate_desi(tmp_path / "survey", stars=300, seed=11, resolution=False)
    plain = {
        "survey": {"name": "desi", "root": str(tmp_path / "survey")},
        "labels": {
            "path": str(truth),
            "key": ["survey", "program", "healpix", "targetid"],
            "names": ["teff", "logg"],
            "error_floor": {"teff": 50.0, "logg": 0.1},
        },
        "model": {"name": "desi_mlp_4", "hyper": {"hidden": [32, 16, 16, 8], "dropout": 0.05}},
        "training": {"epochs": 3, "batch": 64},
        "sampling": {"draws": 10},
        "bundle": {"out": str(tmp_path / "bundle"), "name": "small"},
    }
    (tmp_path / "train.toml").write_text(tomli_w.dumps(plain))
    (tmp_path / "profile.toml").write_text(f'runtime = "local"\naddress = "{cluster.dashboard}"\n')
    words = ("submit", tmp_path / "train.toml", "--profile", tmp_path / "profile.toml")
    done = abundant(*words)
    assert done.code == 0 and "Bundle small in" in done.out, done.out + done.err
    for name in (tmp_path / "train.toml", tmp_path / "bundle-training"):
        shown = abundant("status", name).out
        assert (
            "written" in shown and "not written" not in shown and "member 0" in shown and "3 epochs" in shown
        )
    again = abundant(*words)
    assert (again.code, "is not empty" in again.err) == (2, True)


@LONG
def test_what_only_the_cluster_can_see_is_checked_there(
    cluster: Raylets, abundant: Abundant, scene: Scene, tmp_path: Path
) -> None:
    spec, profile = written(scene, tmp_path, cluster)
    spec.write_text(spec.read_text().replace(str(scene.folder / "bundle"), "/far/away/bundle"))
    told = abundant("submit", spec, "--profile", profile)
    assert "Not seen from this machine: /far/away/bundle. The cluster will check the plan." in told.err
    assert told.code == 1 and "/far/away/bundle" in told.out and "the same submit goes on" in told.err
