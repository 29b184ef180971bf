"""A run that breaks or must not start: it ends with its own error, and what was staged is kept."""

import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalogs.stage import Stage
from engine.errors import BundleError, PlanError, StagingError
from engine.plan import make_plan
from engine.runtime import RUNTIMES
from engine.spec import Profile, RunSpec
from engine.types import Receipt, Task
from jobs.run import layout_of, run
from tests.flows.damage import LOCAL, own_files, spec_of


@dataclass(frozen=True)
class FullDisk:
    """A sink whose disk has no room."""

    def stage(self, task: Task, *_: object, **__: object) -> Receipt:
        raise StagingError(f"{task.task_id}: no space left on device; free some and run again")


@pytest.fixture
def files(survey_root: Path, tmp_path: Path) -> list[Path]:
    return own_files(survey_root, tmp_path)


@pytest.mark.ray
def test_an_error_of_reading_or_of_the_bundle_on_ray_comes_back_as_itself(
    ray_session: None, files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    own = tmp_path / "bundle"
    shutil.copytree(run_spec().model.bundle, own)
    plan = make_plan(spec_of(run_spec, tmp_path, model={"bundle": own}))
    shutil.rmtree(own)
    with pytest.raises(BundleError, match="no bundle"):
        list(RUNTIMES["ray_data"](plan, FullDisk(), Profile(actors=1)))
    ids = tmp_path / "ids.parquet"
    pq.write_table(pa.table({"targetid": [1]}), ids)
    listed = run_spec(survey={"root": tmp_path / "own", "select": {"by": "ids", "path": ids}})
    plan = make_plan(listed)
    ids.unlink()
    with pytest.raises(PlanError, match=r"survey\.select\.path"):
        list(RUNTIMES["ray_data"](plan, FullDisk(), Profile(actors=1)))


def test_a_full_disk_stops_the_run_and_a_retry_finishes_it(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(spec_of(run_spec, tmp_path))
    written = 0

    def full(*arguments: object, **options: object) -> None:
        nonlocal written
        written += 1
        if written == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(*arguments, **options)

    import catalogs.stage as stage

    original = stage.write_atomic
    monkeypatch.setattr(stage, "write_atomic", full)
    with pytest.raises(StagingError, match=r"(?i)free|space"):
        run(plan, LOCAL)
    kept = len(Stage(layout_of(plan)).receipts())
    assert kept >= 1
    report = run(plan, LOCAL)
    assert report.committed.rows == plan.rows


def test_a_catalog_of_another_run_is_left_alone(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    first = run(make_plan(spec_of(run_spec, tmp_path)), LOCAL)
    before = (first.catalog / "manifest.json").read_bytes()
    with pytest.raises(PlanError, match="version"):
        run(make_plan(spec_of(run_spec, tmp_path, sampling={"seed": 99})), LOCAL)
    assert (first.catalog / "manifest.json").read_bytes() == before


@pytest.mark.ray
def test_an_error_in_an_actor_comes_back_as_itself(
    ray_session: None, files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    plan = make_plan(spec_of(run_spec, tmp_path))
    with pytest.raises(StagingError) as caught:
        list(RUNTIMES["ray_data"](plan, FullDisk(), Profile(actors=1)))
    assert str(caught.value).endswith("free some and run again")
    assert "\n" not in str(caught.value)


@pytest.mark.ray
def test_more_actors_than_cpus_are_refused_instead_of_waited_for(
    ray_session: None, run_spec: Callable[..., RunSpec]
) -> None:
    with pytest.raises(PlanError, match=r"50 actors .* do not fit"):
        list(RUNTIMES["ray_data"](make_plan(run_spec()), FullDisk(), Profile(actors=50)))
