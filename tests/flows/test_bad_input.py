"""Bad files and wrong requests, through the whole road: a clear end, and nothing lost."""

import errno
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from catalogs import open_catalog
from catalogs.stage import Stage
from engine.errors import BundleError, CommitError, InputError, PlanError, StagingError
from engine.flags import BY_NAME, names
from engine.models import MODELS
from engine.models.architecture import handshake
from engine.plan import make_plan
from engine.runtime import RUNTIMES
from engine.spec import Profile, RunSpec
from engine.surveys import SURVEYS
from engine.types import Receipt, Spectrograph, Task
from jobs.run import RunReport, layout_of, run
from tests.bundles import write_bundle
from tests.conftest import SAMPLING

LOCAL = Profile(runtime="local")
Damage = Callable[[Path], None]


@pytest.fixture
def files(survey_root: Path, tmp_path: Path) -> list[Path]:
    """Three coadds with their redrock files, in a tree of the test's own."""
    own = []
    for path in sorted(survey_root.rglob("coadd-*.fits"))[:3]:
        target = tmp_path / "own" / path.relative_to(survey_root)
        target.parent.mkdir(parents=True)
        for one in (path, path.with_name(path.name.replace("coadd-", "redrock-"))):
            shutil.copy(one, target.with_name(one.name))
        own.append(target)
    return own


def spec_of(run_spec: Callable[..., RunSpec], tmp_path: Path, **sections: dict[str, object]) -> RunSpec:
    return run_spec(survey={"root": tmp_path / "own"}, **sections)


def rows_of(path: Path) -> int:
    return fits.getheader(path, "FIBERMAP")["NAXIS2"]


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


def not_fits(path: Path) -> None:
    path.write_text("this was a spectrum once")


def edit(path: Path, change: Callable[[fits.HDUList], None]) -> None:
    """Rewrite a FITS file after changing its HDUs in memory."""
    with fits.open(path, memmap=False) as hdus:
        change(hdus)
        hdus.writeto(path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


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


def rows_with(rows: pa.Table, flag: str) -> pa.Table:
    return rows.filter(pa.array((rows["flags"].to_numpy() & BY_NAME[flag].value) != 0))


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


def labels_of(report: RunReport) -> dict[int, float]:
    rows = open_catalog(report.catalog).to_arrow().filter(pa.compute.is_valid(pa.compute.field("teff")))
    return dict(zip(rows["targetid"].to_pylist(), rows["teff"].to_pylist(), strict=True))


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


@pytest.mark.parametrize("section", ["select", "rv"])
def test_another_list_of_ids_or_velocities_is_another_plan(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path, section: str
) -> None:
    ids = fits.getdata(files[0], "FIBERMAP")["TARGETID"].astype("i8")
    listed = tmp_path / "listed.parquet"
    name = {"select": "by", "rv": "from"}[section]
    change = {section: {name: {"select": "ids", "rv": "table"}[section], "path": listed}}
    plans = []
    for value in (10.0, 300.0):
        pq.write_table(
            pa.table({"targetid": ids[: int(value)], "rv": np.full(len(ids[: int(value)]), value)}), listed
        )
        plans.append(make_plan(run_spec(survey={"root": tmp_path / "own"} | change)))
    assert plans[0].digest != plans[1].digest
    assert plans[0].work_digest != plans[1].work_digest


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


def test_bundles_that_cannot_be_used_are_refused_in_the_plan(
    run_spec: Callable[..., RunSpec], bundle: Path, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match="no bundle"):
        make_plan(run_spec(model={"bundle": tmp_path / "absent"}))
    altered = tmp_path / "altered"
    shutil.copytree(bundle, altered)
    weights = bytearray((altered / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (altered / "model.safetensors").write_bytes(weights)
    with pytest.raises(BundleError, match="sha256"):
        make_plan(run_spec(model={"bundle": altered}))
    for old, new in (('name = "logg"', 'name = "colour"'), ("members = 1", "members = 0"), ("32,", "33,")):
        shutil.rmtree(altered)
        shutil.copytree(bundle, altered)
        card = (altered / "card.toml").read_text()
        assert old in card
        (altered / "card.toml").write_text(card.replace(old, new, 1))
        with pytest.raises(BundleError):
            make_plan(run_spec(model={"bundle": altered}))
    unknown = tmp_path / "unknown"
    shutil.copytree(bundle, unknown)
    card = (unknown / "card.toml").read_text().replace("desi_mlp_4", "desi_transformer")
    (unknown / "card.toml").write_text(card)
    with pytest.raises(BundleError, match="desi_transformer"):
        make_plan(run_spec(model={"bundle": unknown}))


def test_a_model_whose_inputs_the_survey_lacks_is_refused_by_name() -> None:
    desi, model = SURVEYS["desi"], MODELS["desi_mlp_4"]
    blue_only = Spectrograph(arms=desi.arms[:1], frame="observed", medium="vacuum")
    with pytest.raises(PlanError, match=r"blue cannot feed model desi_mlp_4: spectra span 3600-5800 A"):
        handshake(model, "blue", blue_only)
    in_air = Spectrograph(arms=desi.arms, frame="observed", medium="air")
    with pytest.raises(PlanError, match="in air, the model wants vacuum"):
        handshake(model, "airy", in_air)


def test_an_unknown_survey_and_an_empty_folder_are_refused(
    run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    with pytest.raises(PlanError, match=r"known: desi"):
        make_plan(run_spec(survey={"name": "sdss"}))
    with pytest.raises(InputError, match="no-such-folder"):
        make_plan(run_spec(survey={"root": tmp_path / "no-such-folder"}))


def test_tasks_too_large_for_a_block_are_refused(run_spec: Callable[..., RunSpec]) -> None:
    with pytest.raises(PlanError, match=r"tasks\.rows = 10000 makes tasks of 911 MiB; at most 1317 fit"):
        make_plan(run_spec(tasks={"rows": 10_000}))


def test_other_sampling_than_the_cards_is_warned_of_and_flagged(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    plan = make_plan(spec_of(run_spec, tmp_path, sampling={"draws": 4}))
    assert any("UNCALIBRATED" in warning for warning in plan.warnings)
    rows = open_catalog(run(plan, LOCAL).catalog).to_arrow()
    assert len(rows_with(rows, "UNCALIBRATED")) == len(rows)
    found = rows.filter(pa.compute.is_valid(pa.compute.field("teff")))
    np.testing.assert_allclose(found["e_teff"], found["e_teff_model"])


def test_an_uncalibrated_bundle_is_flagged_too(
    files: list[Path], run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    bare = write_bundle(tmp_path / "bare", sampling=None)
    plan = make_plan(spec_of(run_spec, tmp_path, model={"bundle": bare}, sampling=SAMPLING.model_dump()))
    assert any("not calibrated" in warning for warning in plan.warnings)
    rows = open_catalog(run(plan, LOCAL).catalog).to_arrow()
    assert len(rows_with(rows, "UNCALIBRATED")) == len(rows)


@dataclass(frozen=True)
class FullDisk:
    """A sink whose disk has no room."""

    def stage(self, task: Task, *_: object, **__: object) -> Receipt:
        raise StagingError(f"{task.task_id}: no space left on device; free some and run again")


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
