"""Inputs that are written while a run goes on, or between its parts: one content, or none."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from catalogs import open_catalog
from catalogs.stage import Stage
from engine.errors import BundleError, CommitError, PlanError
from engine.plan import make_plan
from engine.runtime import RUNTIMES
from engine.spec import RunSpec
from engine.surveys.fits import opened
from engine.surveys.pinned import once, sha256_of
from engine.surveys.store import Folder
from engine.types import Receipt, Task
from jobs.run import commit_run, layout_of, run
from tests.bundles import write_bundle
from tests.conftest import SAMPLING
from tests.flows.damage import LOCAL, own_files, spec_of


@pytest.fixture
def files(survey_root: Path, tmp_path: Path) -> list[Path]:
    return own_files(survey_root, tmp_path)


def poke(path: Path, hdu: str, byte: int = 0) -> None:
    """Turn over a low bit of one number of an HDU, in place."""
    with opened(Folder(path.parent), path.name) as file:
        offset = next(found.extent.offset for found in file.walk() if found.name == hdu)
    with path.open("r+b") as raw:
        raw.seek(offset + byte)
        old = raw.read(1)[0]
        raw.seek(offset + byte)
        raw.write(bytes([old ^ 1]))
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))


def rows_of(report_or_path: Path) -> pa.Table:
    """A catalog's rows without what names their shard and task."""
    table = open_catalog(report_or_path).to_arrow()
    return table.drop_columns(["shard_id", "task_id"]).sort_by("targetid")


@dataclass
class Interrupted(Exception):
    """The power went away."""


@dataclass
class Meanwhile:
    """A sink that lets something happen after some receipts."""

    inner: Stage
    after: int
    happens: Callable[[], None]
    staged: list[str] = field(default_factory=list)

    def stage(self, task: Task, *arguments: object, **options: object) -> Receipt:
        receipt = self.inner.stage(task, *arguments, **options)  # type: ignore[arg-type]
        self.staged.append(task.task_id)
        if len(self.staged) == self.after:
            self.happens()
        return receipt


def stop() -> None:
    raise Interrupted


PLACES = [("B_FLUX", 4 * 2000 + 1), ("FIBERMAP", 40)]


@pytest.mark.parametrize(("hdu", "byte"), PLACES)
def test_an_edit_of_one_byte_between_kill_and_resume_leaves_no_old_row(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path, hdu: str, byte: int
) -> None:
    spec = spec_of(run_spec, tmp_path)
    plan = make_plan(spec)
    from catalogs.stage import open_run

    open_run(layout_of(plan), plan.record())
    with pytest.raises(Interrupted):
        list(RUNTIMES["local"](plan, Meanwhile(Stage(layout_of(plan)), 2, stop), LOCAL))
    poke(files[0], hdu, byte)
    resumed = rows_of(run(make_plan(spec), LOCAL).catalog)
    clean = spec_of(run_spec, tmp_path, catalog={"name": "clean"})
    assert resumed.equals(rows_of(run(make_plan(clean), LOCAL).catalog))


def test_a_redrock_table_that_changed_makes_another_plan(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    before = make_plan(spec_of(run_spec, tmp_path)).digest
    poke(files[0].with_name(files[0].name.replace("coadd-", "redrock-")), "REDSHIFTS", 9)
    assert make_plan(spec_of(run_spec, tmp_path)).digest != before


def test_a_file_written_during_the_run_is_read_again(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(run_spec, tmp_path)
    plan = make_plan(spec)
    execute, done = RUNTIMES["local"], []

    def watched(plan, sink, profile):
        sink = sink if done else Meanwhile(sink, 2, lambda: poke(files[0], "B_FLUX", 4 * 2000 + 1))
        done.append(len(plan.tasks))
        return execute(plan, sink, profile)

    monkeypatch.setitem(RUNTIMES, "local", watched)
    rows = rows_of(run(plan, LOCAL).catalog)
    assert len(done) == 2
    assert 0 < done[1] < done[0]
    monkeypatch.undo()
    clean = spec_of(run_spec, tmp_path, catalog={"name": "clean"})
    assert rows.equals(rows_of(run(make_plan(clean), LOCAL).catalog))


def test_commit_alone_refuses_files_that_were_touched(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    from catalogs.stage import open_run

    plan = make_plan(spec_of(run_spec, tmp_path))
    open_run(layout_of(plan), plan.record())
    list(RUNTIMES["local"](plan, Stage(layout_of(plan)), LOCAL))
    os.utime(files[0], ns=(1, 1))
    with pytest.raises(CommitError, match="written after they were read; `abundant run`"):
        commit_run(make_plan(spec_of(run_spec, tmp_path)))


def test_a_list_of_ids_counts_as_it_was_planned(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    ids = fits.getdata(files[0], "FIBERMAP")["TARGETID"].astype(np.int64)[:3]
    listed = tmp_path / "ids.parquet"
    pq.write_table(pa.table({"targetid": ids}), listed)
    spec = run_spec(survey={"root": tmp_path / "own", "select": {"by": "ids", "path": listed}})
    plan = make_plan(spec)
    pq.write_table(pa.table({"targetid": ids[:1]}), listed)
    assert set(rows_of(run(plan, LOCAL).catalog)["targetid"].to_pylist()) == set(ids.tolist())
    assert make_plan(spec).digest != plan.digest
    pinned = spec.survey.select.model_copy(update={"sha256": "0" * 64})
    survey = spec.survey.model_copy(update={"select": pinned})
    with pytest.raises(PlanError, match=r"survey\.select\.sha256 is another"):
        make_plan(spec.model_copy(update={"survey": survey}))


def test_a_process_that_did_not_plan_refuses_another_list(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("one")
    planned = sha256_of(path)
    assert once(Path.read_text)(path, planned) == "one"
    path.write_text("two")
    with pytest.raises(PlanError, match="not the file that was planned with"):
        once(Path.read_text)(path, planned)
    assert once(Path.read_text)(path, None) == "two"


def test_another_bundle_in_its_place_is_refused(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    own = write_bundle(tmp_path / "bundle", sampling=SAMPLING)
    plan = make_plan(spec_of(run_spec, tmp_path, model={"bundle": own}))
    shutil.rmtree(own)
    write_bundle(own, sampling=SAMPLING, seed=9)
    with pytest.raises(BundleError, match="not the bundle that was planned with"):
        run(plan, LOCAL)
