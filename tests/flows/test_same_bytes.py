"""Local == Ray, 1 actor == 2 actors, killed and resumed == undisturbed: the same bytes every time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w

from catalogs import open_catalog
from catalogs.stage import Stage, open_run
from engine.plan import Plan, make_plan
from engine.runtime import RUNTIMES
from engine.spec import Profile, RunSpec
from engine.types import Receipt, Task
from jobs.run import commit_run, layout_of, run
from tests.flows.bytes import fingerprint

LOCAL = Profile(runtime="local")


@pytest.fixture(scope="module")
def undisturbed(survey_root: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The catalog of a local run that nothing disturbed."""
    from tests.conftest import SAMPLING

    root = tmp_path_factory.mktemp("undisturbed")
    plain = {
        "survey": {"name": "desi", "root": survey_root, "select": {"by": "all"}},
        "model": {"bundle": bundle},
        "sampling": SAMPLING.model_dump(),
        "tasks": {"rows": 25},
        "catalog": {"name": "test", "version": "1", "root": root},
    }
    report = run(make_plan(RunSpec.model_validate(plain)), LOCAL)
    return fingerprint(report.catalog)


def input_keys(survey_root: Path) -> set[tuple[str, str, int, int]]:
    """Every row of every FIBERMAP, read by fitsio and not by us."""
    import fitsio

    keys = set()
    for path in survey_root.rglob("coadd-*.fits"):
        _, survey, program, pixel = path.stem.split("-")
        ids = fitsio.read(path, "FIBERMAP", columns=["TARGETID"])
        keys |= {(survey, program, int(pixel), int(target)) for target in ids["TARGETID"]}
    return keys


def test_every_input_row_is_in_the_catalog_exactly_once(
    run_spec: Callable[..., RunSpec], survey_root: Path
) -> None:
    report = run(make_plan(run_spec()), LOCAL)
    rows = open_catalog(report.catalog).to_arrow()
    found = list(
        zip(*(rows[key].to_pylist() for key in ("survey", "program", "healpix", "targetid")), strict=True)
    )
    assert len(found) == len(set(found)) == report.committed.rows
    assert set(found) == input_keys(survey_root)
    assert (
        report.committed.rows == report.committed.ok + report.committed.flagged + report.committed.no_result
    )
    assert report.committed.no_result > 0
    assert report.committed.flagged > 0


def test_another_root_and_another_profile_give_the_same_bytes(
    run_spec: Callable[..., RunSpec], undisturbed: dict[str, str]
) -> None:
    report = run(make_plan(run_spec()), LOCAL)
    assert fingerprint(report.catalog) == undisturbed


@pytest.mark.ray
@pytest.mark.parametrize("runtime", ["local", "ray_data"])
def test_preparing_with_the_read_gives_the_same_bytes(
    ray_session: None, run_spec: Callable[..., RunSpec], undisturbed: dict[str, str], runtime: str
) -> None:
    profile = Profile.model_validate({"runtime": runtime, "actors": 2, "prepare": "read"})
    assert fingerprint(run(make_plan(run_spec()), profile).catalog) == undisturbed


@pytest.mark.ray
@pytest.mark.parametrize("actors", [1, 2])
def test_ray_gives_the_bytes_of_the_local_loop(
    ray_session: None, run_spec: Callable[..., RunSpec], undisturbed: dict[str, str], actors: int
) -> None:
    report = run(make_plan(run_spec()), Profile(actors=actors))
    assert fingerprint(report.catalog) == undisturbed


@dataclass(frozen=True)
class DyingStage:
    """A sink whose process is killed once: before a task is staged, or between its data and its receipt."""

    inner: Stage
    marker: Path
    after_data: bool

    def stage(
        self,
        task: Task,
        labels: pa.Table,
        *,
        failure: str | None,
        seconds: Mapping[str, float],
        seen: str = "",
        where: str = "",
    ) -> Receipt:
        if not self.marker.exists() and self.inner.receipts():
            self.marker.touch()
            if self.after_data:
                self.inner.stage(task, labels, failure=failure, seconds=seconds, seen=seen, where=where)
                (self.inner.layout.receipts / f"{task.task_id}.json").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner.stage(task, labels, failure=failure, seconds=seconds, seen=seen, where=where)


@pytest.mark.ray
@pytest.mark.parametrize("after_data", [False, True])
def test_a_killed_actor_costs_nothing(
    ray_session: None,
    run_spec: Callable[..., RunSpec],
    undisturbed: dict[str, str],
    tmp_path: Path,
    after_data: bool,
) -> None:
    plan = make_plan(run_spec())
    layout = layout_of(plan)
    open_run(layout, plan.record())
    sink = DyingStage(Stage(layout), tmp_path / "killed", after_data)
    receipts = list(RUNTIMES["ray_data"](plan, sink, Profile(actors=2)))
    assert sink.marker.exists()
    assert sorted(r.task_id for r in receipts) == sorted(t.task_id for t in plan.tasks)
    assert fingerprint(commit_run(plan).path) == undisturbed


def write_spec(spec: RunSpec, path: Path) -> Path:
    path.write_text(tomli_w.dumps(spec.model_dump(mode="json", by_alias=True, exclude_unset=True)))
    return path


def kill_when(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    """SIGKILL the driver once a condition holds; fails the test if the run ends before."""
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()
    process.wait()


@pytest.mark.parametrize("after_receipts", [1, 5])
def test_a_killed_driver_resumes_with_the_same_command(
    run_spec: Callable[..., RunSpec], undisturbed: dict[str, str], tmp_path: Path, after_receipts: int
) -> None:
    spec = run_spec()
    plan = make_plan(spec)
    stage = Stage(layout_of(plan))
    profile = tmp_path / "local.toml"
    profile.write_text('runtime = "local"\n')
    command = [
        sys.executable,
        "-m",
        "jobs",
        "run",
        str(write_spec(spec, tmp_path / "run.toml")),
        "--profile",
        str(profile),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        kill_when(process, lambda: len(list(stage.layout.receipts.glob("*.json"))) >= after_receipts)
    done = len(stage.receipts())
    assert after_receipts <= done < len(plan.tasks)
    resumed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert f"{done} of {len(plan.tasks)} tasks are already done" in resumed.stderr
    assert fingerprint(stage.layout.catalog) == undisturbed


def test_of_two_drivers_at_once_one_works_and_the_other_harms_nothing(
    run_spec: Callable[..., RunSpec], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    spec = run_spec()
    layout = layout_of(make_plan(spec))
    (tmp_path / "local.toml").write_text('runtime = "local"\n')
    words = ["run", str(write_spec(spec, tmp_path / "run.toml")), "--profile", str(tmp_path / "local.toml")]
    command = [sys.executable, "-m", "jobs", *words]
    racers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = {racer.communicate()[1]: racer.returncode for racer in racers}
    codes = sorted(said.values())
    assert codes in ([0, 1], [0, 0]), said
    assert all(code == 0 or "this run is being driven by process" in text for text, code in said.items())
    assert fingerprint(layout.catalog) == undisturbed
    assert not layout.lease.exists()


@pytest.mark.ray
def test_a_driver_killed_on_ray_leaves_a_run_that_resumes(
    ray_session: None, run_spec: Callable[..., RunSpec], undisturbed: dict[str, str], tmp_path: Path
) -> None:
    """The killed driver has a Ray of its own; what it leaves behind is ended by process group."""
    spec = run_spec()
    plan = make_plan(spec)
    stage = Stage(layout_of(plan))
    command = [sys.executable, "-m", "jobs", "run", str(write_spec(spec, tmp_path / "run.toml"))]
    environment = {k: v for k, v in os.environ.items() if k != "RAY_ADDRESS"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, start_new_session=True, **quiet) as process:
        kill_when(process, lambda: len(list(stage.layout.receipts.glob("*.json"))) >= 2)
    end_group(process.pid)
    assert 0 < len(stage.receipts()) < len(plan.tasks)
    assert fingerprint(run(plan, Profile(actors=2)).catalog) == undisturbed


def end_group(group: int) -> None:
    """End what a killed driver left in its own process group."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_finished_run_is_not_done_again(run_spec: Callable[..., RunSpec]) -> None:
    plan = make_plan(run_spec())
    first = run(plan, LOCAL)
    before = (first.catalog / "hats.properties").stat().st_mtime_ns
    again = run(plan, LOCAL)
    assert again.committed.already
    assert (again.catalog / "hats.properties").stat().st_mtime_ns == before


def test_rows_keep_their_order_and_number_through_inference(run_spec: Callable[..., RunSpec]) -> None:
    """Staged files hold the rows of their task, in file order."""
    plan = make_plan(run_spec())
    layout = layout_of(plan)
    open_run(layout, plan.record())
    for receipt in RUNTIMES["local"](plan, Stage(layout), LOCAL):
        rows = pq.read_table(layout.staging / receipt.file)["row_in_shard"].to_pylist()
        task = next(task for task in plan.tasks if task.task_id == receipt.task_id)
        assert rows == list(range(task.start, task.stop))


def test_plans_without_receipts_keep_their_name(run_spec: Callable[..., RunSpec]) -> None:
    plan: Plan = make_plan(run_spec())
    left = plan.without({plan.tasks[0].task_id})
    assert (left.digest, len(left.tasks)) == (plan.digest, len(plan.tasks) - 1)
