"""Damaged, changed and odd files, through the whole road: a clear end, and nothing lost."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from catalogs import open_catalog
from catalogs.stage import Stage
from engine.errors import CommitError
from engine.flags import names
from engine.plan import make_plan
from engine.spec import Profile, RunSpec
from jobs.run import layout_of, run
from tests.flows.damage import LOCAL, edit, labels_of, own_files, rows_of, rows_with, spec_of, truncate

Damage = Callable[[Path], None]


def not_fits(path: Path) -> None:
    path.write_text("this was a spectrum once")


def without_hdu(path: Path) -> None:
    edit(path, lambda hdus: hdus.pop([h.name for h in hdus].index("R_IVAR")))


def wrong_shape(path: Path) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus["B_FLUX"].data = hdus["B_FLUX"].data[:, :-1].copy()

    edit(path, change)


def wrong_grid(path: Path) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus["Z_WAVELENGTH"].data = hdus["Z_WAVELENGTH"].data + 0.3

    edit(path, change)


def unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


BROKEN: dict[Damage, str] = {
    truncate: "truncated|ends|short|bytes",
    not_fits: "FITS",
    without_hdu: "R_IVAR",
    wrong_shape: "B_FLUX",
    wrong_grid: "Z_WAVELENGTH|grid",
    unreadable: "directory|read",
}


@pytest.fixture
def files(survey_root: Path, tmp_path: Path) -> list[Path]:
    return own_files(survey_root, tmp_path)


@pytest.mark.parametrize("damage", BROKEN, ids=lambda d: d.__name__)
def test_a_broken_file_is_a_failed_task_and_the_rest_goes_on(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path, damage: Damage
) -> None:
    readable_ids = rows_of(files[1]) if damage in (truncate, without_hdu, wrong_shape, wrong_grid) else 0
    damage(files[1])
    others = rows_of(files[0]) + rows_of(files[2])
    with pytest.raises(CommitError, match="failed_tasks"):
        run(make_plan(spec_of(run_spec, tmp_path)), LOCAL)
    report = run(make_plan(spec_of(run_spec, tmp_path, tolerance={"failed_tasks": 9})), LOCAL)
    assert report.committed.rows == others + readable_ids
    catalog = open_catalog(report.catalog)
    [reason] = {failure["reason"] for failure in catalog.manifest["failures"]}
    assert files[1].name in reason
    assert any(word.lower() in reason.lower() for word in BROKEN[damage].split("|")), reason
    lost = rows_with(catalog.to_arrow(), "TASK_FAILED")
    assert len(lost) == readable_ids
    assert lost["teff"].null_count == readable_ids
    assert all(lost["flag_bad"].to_pylist())
    if readable_ids:
        assert set(lost["row_in_shard"].to_pylist()) == set(range(readable_ids))


def test_nan_and_infinite_flux_is_masked_and_flagged(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    clean_run = labels_of(run(make_plan(spec_of(run_spec, tmp_path)), LOCAL))

    def change(hdus: fits.HDUList) -> None:
        hdus["R_FLUX"].data[5, 100:120] = np.nan
        hdus["R_IVAR"].data[6, 100:120] = np.inf

    edit(files[0], change)
    report = run(make_plan(spec_of(run_spec, tmp_path, catalog={"version": "2"})), LOCAL)
    hurt = labels_of(report)
    marked = rows_with(open_catalog(report.catalog).to_arrow(), "NONFINITE_FLUX")
    assert sorted(marked["row_in_shard"].to_pylist()) == [5, 6]
    assert marked["teff"].null_count == 0
    same = [key for key in clean_run if key not in set(marked["targetid"].to_pylist())]
    assert all(clean_run[key] == pytest.approx(hurt[key], rel=1e-6) for key in same)


def test_stars_without_any_ivar_get_a_row_with_null_and_a_reason(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    def change(hdus: fits.HDUList) -> None:
        for arm in "BRZ":
            hdus[f"{arm}_IVAR"].data[:] = 0

    edit(files[0], change)
    report = run(make_plan(spec_of(run_spec, tmp_path)), LOCAL)
    dark = rows_with(open_catalog(report.catalog).to_arrow(), "NO_GOOD_PIXELS")
    assert len(dark) >= rows_of(files[0])
    assert dark["teff"].null_count == dark["e_teff"].null_count == len(dark)
    assert all("NO_RESULT" in names(bits) for bits in dark["flags"].to_pylist())


def test_a_file_without_rows_is_an_empty_task(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    def change(hdus: fits.HDUList) -> None:
        for hdu in hdus:
            if hdu.name == "FIBERMAP" or hdu.name.endswith(("_FLUX", "_IVAR", "_MASK")):
                hdu.data = hdu.data[:0].copy()

    others = rows_of(files[0]) + rows_of(files[2])
    edit(files[1], change)
    report = run(make_plan(spec_of(run_spec, tmp_path)), LOCAL)
    assert (report.committed.rows, report.committed.failed_tasks) in ((others, 0), (others, 1))


def test_duplicate_keys_across_files_are_listed_and_nothing_is_dropped(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    twin = files[0].parent / "again"
    twin.mkdir()
    shutil.copy(files[0], twin / files[0].name)
    plan = make_plan(spec_of(run_spec, tmp_path))
    with pytest.raises(CommitError, match=r"(?i)dup|twice|more than once|unique"):
        run(plan, LOCAL)
    staged = Stage(layout_of(plan)).receipts()
    assert sum(receipt.rows for receipt in staged) == 2 * rows_of(files[0]) + rows_of(files[1]) + rows_of(
        files[2]
    )
    assert not layout_of(plan).catalog.exists()


@pytest.mark.parametrize("runtime", ["local", pytest.param("ray_data", marks=pytest.mark.ray)])
def test_a_file_that_vanished_after_planning_is_a_failed_task(
    files: list[Path],
    run_spec: Callable[..., RunSpec],
    tmp_path: Path,
    runtime: str,
    request: pytest.FixtureRequest,
) -> None:
    if runtime == "ray_data":
        request.getfixturevalue("ray_session")
    plan = make_plan(spec_of(run_spec, tmp_path, tolerance={"failed_tasks": 9}))
    files[2].unlink()
    others = rows_of(files[0]) + rows_of(files[1])
    report = run(plan, Profile.model_validate({"runtime": runtime}))
    assert report.committed.rows == others
    reasons = [failure["reason"] for failure in open_catalog(report.catalog).manifest["failures"]]
    assert reasons
    assert all(files[2].name in reason and "ShardUnavailable" in reason for reason in reasons)


def test_a_file_that_comes_back_is_read_by_the_same_command(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    plan = make_plan(spec_of(run_spec, tmp_path))
    away = files[2].rename(tmp_path / "away")
    with pytest.raises(CommitError, match="ShardUnavailable"):
        run(plan, LOCAL)
    away.rename(files[2])
    report = run(plan, LOCAL)
    assert (report.committed.rows, report.committed.failed_tasks) == (plan.rows, 0)
    assert not len(rows_with(open_catalog(report.catalog).to_arrow(), "TASK_FAILED"))


def test_a_mended_file_costs_its_own_tasks_and_not_the_run(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    whole = files[1].read_bytes()
    truncate(files[1])
    broken = make_plan(spec_of(run_spec, tmp_path))
    with pytest.raises(CommitError, match=r"truncated|ends|bytes"):
        run(broken, LOCAL)
    files[1].write_bytes(whole)
    mended = make_plan(spec_of(run_spec, tmp_path))
    kept = {receipt.task_id for receipt in Stage(layout_of(mended)).receipts()}
    assert mended.digest != broken.digest
    assert len(mended.without(kept).tasks) == sum(t.shard.path.endswith(files[1].name) for t in mended.tasks)
    report = run(mended, LOCAL)
    assert (report.committed.rows, report.committed.failed_tasks) == (mended.rows, 0)


@pytest.mark.parametrize("kind", ["coadd", "redrock"])
def test_a_file_rewritten_with_its_old_size_is_not_mixed_with_what_was_staged(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path, kind: str
) -> None:
    def change(hdus: fits.HDUList) -> None:
        if kind == "coadd":
            hdus["R_FLUX"].data = hdus["R_FLUX"].data[:, ::-1].copy()
        else:
            hdus["REDSHIFTS"].data["Z"] += 1e-3

    whole = files[1].read_bytes()
    truncate(files[1])
    with pytest.raises(CommitError):
        run(make_plan(spec_of(run_spec, tmp_path)), LOCAL)
    files[1].write_bytes(whole)
    rewritten = files[0].with_name(files[0].name.replace("coadd", kind))
    size = rewritten.stat().st_size
    edit(rewritten, change)
    assert rewritten.stat().st_size == size
    plan = make_plan(spec_of(run_spec, tmp_path))
    kept = {receipt.task_id for receipt in Stage(layout_of(plan)).receipts()}
    todo = {task.shard.path.rpartition("/")[2] for task in plan.without(kept).tasks}
    assert todo == {files[0].name, files[1].name}
    elsewhere = {"root": tmp_path / "afresh"}
    afresh = run(make_plan(spec_of(run_spec, tmp_path, catalog=elsewhere)), LOCAL)
    assert labels_of(run(plan, LOCAL)) == labels_of(afresh)


def test_a_redrock_file_that_changes_makes_another_plan(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    before = make_plan(spec_of(run_spec, tmp_path))
    files[0].with_name(files[0].name.replace("coadd-", "redrock-")).unlink()
    after = make_plan(spec_of(run_spec, tmp_path))
    assert (after.work_digest == before.work_digest, after.digest == before.digest) == (True, False)


def test_a_placeholder_position_is_null_and_flagged(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus["FIBERMAP"].data["TARGET_DEC"][3] = -9999.0

    edit(files[0], change)
    rows = open_catalog(run(make_plan(spec_of(run_spec, tmp_path)), LOCAL).catalog).to_arrow()
    [lost] = rows_with(rows, "POSITION_MISSING").to_pylist()
    assert (lost["row_in_shard"], lost["ra"], lost["dec"], lost["_healpix_29"]) == (3, None, None, 0)
