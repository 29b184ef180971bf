"""A release that follows another, through whole runs: only new and changed files are labelled."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from astropy.io import fits

from catalogs import open_catalog, verify
from catalogs.stage import Stage
from engine.errors import PlanError, SpecError
from engine.plan import Plan, make_plan
from engine.spec import RunSpec
from engine.toml import load
from jobs.following import following
from jobs.run import layout_of, run
from tests.bundles import write_bundle
from tests.conftest import SAMPLING
from tests.flows.bytes import fingerprint
from tests.flows.command import Abundant
from tests.flows.damage import LOCAL, edit, own_files, spec_of, truncate
from tests.flows.test_touched_inputs import Interrupted

Specs = Callable[..., RunSpec]


@pytest.fixture
def files(survey_root: Path, tmp_path: Path) -> list[Path]:
    return own_files(survey_root, tmp_path)


@pytest.fixture
def spec(run_spec: Specs, tmp_path: Path) -> Callable[..., RunSpec]:
    """The spec of a version over the test's own files."""

    def make(version: str = "1", follows: str | None = None, **more: Any) -> RunSpec:
        catalog = {"version": version, "follows": follows, "side": ["covariance"]} | more.pop("catalog", {})
        return spec_of(run_spec, tmp_path, catalog=catalog, **more)

    return make


def brighter(path: Path) -> None:
    """Reprocess a file: other pixels, other checksums."""

    def change(hdus: fits.HDUList) -> None:
        for name in ("B_FLUX", "R_FLUX", "Z_FLUX"):
            hdus[name].data = hdus[name].data * np.float32(1.5)
            hdus[name].header.pop("DATASUM", None)

    edit(path, change)


def hidden(path: Path) -> list[tuple[Path, Path]]:
    """Take a coadd and its redrock file away; where they were, and where they are."""
    moved = []
    for one in (path, path.with_name(path.name.replace("coadd-", "redrock-"))):
        aside = one.with_name(f"{one.name}.aside")
        one.rename(aside)
        moved.append((one, aside))
    return moved


def tasks_of(plan: Plan, file: Path) -> set[str]:
    return {task.task_id for task in plan.tasks if task.shard.path.endswith(file.name)}


def rows_of(catalog: Path) -> list[dict[str, Any]]:
    rows = open_catalog(catalog).to_arrow()
    return rows.sort_by([(key, "ascending") for key in ("task_id", "row_in_shard")]).to_pylist()


def test_one_file_comes_one_changes_one_goes(
    files: list[Path], spec: Specs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, new, gone = files
    later = hidden(new)
    old = make_plan(spec())
    first = run(old, LOCAL).catalog
    before = fingerprint(first)
    for place, aside in later:
        aside.rename(place)
    brighter(changed)
    plan = make_plan(spec("2", "1"))
    found = following(plan, layout_of(plan))
    assert found is not None
    assert found.kept == tasks_of(plan, gone) == tasks_of(old, gone)
    capsys.readouterr()
    report = run(plan, LOCAL)
    said = " ".join(capsys.readouterr().err.split())
    kept = len(found.kept)
    assert (
        f"Follows version 1: {kept} of {len(plan.tasks)} tasks are kept, {len(plan.tasks) - kept} are" in said
    )
    receipts = Stage(layout_of(plan)).receipts()
    assert {one.task_id for one in receipts} == {task.task_id for task in plan.tasks} - found.kept
    fresh = run(make_plan(spec(catalog={"version": "2", "root": tmp_path / "elsewhere"})), LOCAL)
    for name in ("test", "test-side"):
        one, other = (root / name / "2" for root in (tmp_path / "catalogs", tmp_path / "elsewhere"))
        assert rows_of(one) == rows_of(other)
    assert (report.committed.rows, report.committed.ok) == (fresh.committed.rows, fresh.committed.ok)
    mine, its = (json.loads((one.catalog / "manifest.json").read_bytes()) for one in (report, fresh))
    for key in ("rows", "flag_counts", "tasks", "shards", "failures"):
        assert mine[key] == its[key]
    assert mine["follows"]["plan_digest"] == old.digest
    assert fingerprint(first) == before
    after_that(spec, files, tmp_path, capsys)


def after_that(spec: Specs, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Version 3 follows 2 without one file; then the older versions go, and nothing is left to do."""
    hidden(files[2])
    plan = make_plan(spec("3", "2"))
    capsys.readouterr()
    report = run(plan, LOCAL)
    said = " ".join(capsys.readouterr().err.split())
    assert f"{len(plan.tasks)} of {len(plan.tasks)} tasks are kept, 0 are done anew" in said
    assert report.committed.rows < open_catalog(tmp_path / "catalogs" / "test" / "2").rows
    for title in ("test", "test-side"):
        for version in "12":
            shutil.rmtree(tmp_path / "catalogs" / title / version)
    assert verify(report.catalog).rows == report.committed.rows
    assert run(make_plan(spec("3", "2")), LOCAL).committed.already


def test_nothing_changed_costs_nothing_and_the_files_are_the_same(
    files: list[Path], spec: Specs, tmp_path: Path, abundant: Abundant
) -> None:
    first = run(make_plan(spec()), LOCAL).catalog
    path = tmp_path / "two.toml"
    path.write_text(
        tomli_w.dumps(
            spec("2", "1").model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)
        )
    )
    (tmp_path / "local.toml").write_text('runtime = "local"\n')
    shown = abundant("plan", path)
    every = len(make_plan(spec()).tasks)
    assert f"version 1: {every} of {every} tasks are kept, 0 are done anew" in " ".join(
        f"{shown.out} {shown.err}".split()
    )
    done = abundant("run", path, "--profile", tmp_path / "local.toml")
    assert done.code == 0, done.err
    second = tmp_path / "catalogs" / "test" / "2"
    assert fingerprint(second) == fingerprint(first)
    for one in (first / "dataset").rglob("Npix=*.parquet"):
        assert (second / one.relative_to(first)).samefile(one)


def test_an_interrupted_release_goes_on_and_a_failed_task_is_tried_again(
    files: list[Path], spec: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = files[1].read_bytes()
    truncate(files[1])
    first = run(make_plan(spec(tolerance={"failed_tasks": 9})), LOCAL)
    assert first.committed.failed_tasks > 0
    files[1].write_bytes(whole)
    plan = make_plan(spec("2", "1"))
    real, calls = Stage.stage, iter(range(99))

    def dying(*given: Any, **named: Any) -> Any:
        if next(calls) == 1:
            raise Interrupted
        return real(*given, **named)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(Stage, "stage", dying)
        run(plan, LOCAL)
    report = run(plan, LOCAL)
    assert report.committed.failed_tasks == 0
    found = {one.task_id for one in Stage(layout_of(plan)).receipts()}
    assert found == tasks_of(plan, files[1])
    fresh = run(make_plan(spec(catalog={"root": tmp_path / "elsewhere"})), LOCAL)
    assert rows_of(report.catalog) == rows_of(fresh.catalog)


def test_what_would_make_other_labels_is_refused_and_named(
    files: list[Path], spec: Specs, tmp_path: Path
) -> None:
    run(make_plan(spec()), LOCAL)
    other = write_bundle(tmp_path / "other", sampling=SAMPLING, seed=5)
    asked = spec("2", "1", model={"bundle": other}, sampling={"draws": 7}, tasks={"rows": 20})
    plan = make_plan(asked)
    with pytest.raises(PlanError, match=r"(?s)none of its labels could be kept") as caught:
        run(plan, LOCAL)
    for key in ("bundle was", "sampling.draws was 6, now is 7", "tasks.rows was 25, now is 20"):
        assert key in str(caught.value)
    assert not layout_of(plan).staging.exists()
    with pytest.raises(PlanError, match=r"follows = \"0\", but .*test/0 is no published catalog"):
        run(make_plan(spec("2", "0")), LOCAL)


def test_a_version_does_not_follow_itself_and_names_are_names(tmp_path: Path, spec: Specs) -> None:
    plain = spec("2", "1").model_dump(mode="json", by_alias=True, exclude_none=True)
    for follows, words in (("2", "is this very version"), ("../1", "should match pattern")):
        plain["catalog"]["follows"] = follows
        (tmp_path / "run.toml").write_text(tomli_w.dumps(plain))
        with pytest.raises(SpecError, match=words):
            load(tmp_path / "run.toml", RunSpec)
    assert spec().digest() == spec(follows=None).digest() != spec("1", "0").digest()
