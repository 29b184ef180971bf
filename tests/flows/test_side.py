"""Runs with a side catalog: covariances and quantiles beside the labels, and nothing where none is asked."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

import catalogs.commit
from catalogs import open_catalog, query, verify
from catalogs.stage import Stage
from engine.plan import Plan, make_plan
from engine.spec import Profile, RunSpec
from jobs.run import check, commit_run, layout_of, run
from tests.flows.bytes import fingerprint

LOCAL = Profile(runtime="local")
SIDE = {"catalog": {"side": ["covariance", "quantiles"]}}
LABELS = ("teff", "logg", "fe_h", "mg_h", "mg_fe")


class Crash(Exception):
    """A killed process, as far as files can tell."""


@pytest.fixture(scope="module")
def undisturbed(survey_root: Path, bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The main catalog of a run with a side catalog that nothing disturbed."""
    from tests.conftest import SAMPLING

    plain = {
        "survey": {"name": "desi", "root": survey_root, "select": {"by": "all"}},
        "model": {"bundle": bundle},
        "sampling": SAMPLING.model_dump(),
        "tasks": {"rows": 25},
        "catalog": {"name": "test", "version": "1", "root": tmp_path_factory.mktemp("u"), **SIDE["catalog"]},
    }
    return run(make_plan(RunSpec.model_validate(plain)), LOCAL).catalog


def side_of(main: Path) -> Path:
    return main.parent.parent / f"{main.parent.name}-side" / main.name


def fingerprints(main: Path) -> list[dict[str, str]]:
    return [fingerprint(main), fingerprint(side_of(main))]


def test_both_catalogs_verify_and_have_the_same_keys_in_the_same_order(undisturbed: Path) -> None:
    main, side = open_catalog(undisturbed), open_catalog(side_of(undisturbed))
    assert check(main.path).rows == check(side.path).rows == main.rows
    keys = ["_healpix_29", *main.manifest["keys"]]
    assert main.to_arrow(keys).equals(side.to_arrow(keys))
    assert list(main.manifest["files"]) == list(side.manifest["files"])
    assert not {"covariance", "quantiles"} & {*main.schema.names}
    assert {"covariance", "quantiles", "ra", "dec"} <= {*side.schema.names}


def test_duckdb_joins_them_and_the_diagonal_is_the_error(undisturbed: Path) -> None:
    files = [f"{folder}/dataset/*/*/*.parquet" for folder in (undisturbed, side_of(undisturbed))]
    main, side = (f"read_parquet('{file}', hive_partitioning = false)" for file in files)
    diagonal = [row * (row + 1) // 2 + row + 1 for row in range(len(LABELS))]
    wanted = ", ".join(
        f"e_{name}, sqrt(covariance[{k}]), {name}, quantiles[{5 * i + 1}:{5 * i + 5}]"
        for i, (name, k) in enumerate(zip(LABELS, diagonal, strict=True))
    )
    with duckdb.connect() as connection:
        rows = connection.execute(
            f"SELECT {wanted} FROM {main} JOIN {side} USING (survey, program, healpix, targetid) "
            "WHERE teff IS NOT NULL"
        ).fetchall()
        lacking = connection.execute(
            f"SELECT count(*) FROM {main} JOIN {side} USING (targetid) "
            "WHERE (teff IS NULL) <> (covariance IS NULL) OR (teff IS NULL) <> (quantiles IS NULL)"
        ).fetchall()[0][0]
    catalog = open_catalog(undisturbed)
    assert lacking == 0
    assert len(rows) == catalog.rows - catalog.manifest["rows"]["no_result"] > 100
    for row in rows:
        for i in range(len(LABELS)):
            error, root, centre, points = row[4 * i : 4 * i + 4]
            assert root == pytest.approx(error, rel=1e-5)
            assert points == sorted(points)
            assert points[0] <= centre <= points[-1]


def test_covariances_are_positive_semidefinite(undisturbed: Path) -> None:
    rows = query(side_of(undisturbed), "SELECT covariance FROM catalog WHERE NOT flag_bad")
    for packed in rows["covariance"].to_pylist():
        matrix_LL = np.zeros((len(LABELS), len(LABELS)))
        matrix_LL[np.tril_indices(len(LABELS))] = packed
        matrix_LL += np.tril(matrix_LL, -1).T
        e_L = np.sqrt(np.diag(matrix_LL))
        assert np.linalg.eigvalsh(matrix_LL / np.outer(e_L, e_L)).min() > -1e-5


def shown(language: str) -> str:
    """What the documentation tells a reader to type, for this catalog."""
    readme = Path(catalogs.__file__).with_name("README.md").read_text()
    [text] = re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)
    return text.replace("stars/v1", "test/1").replace("stars-side/v1", "test-side/1")


def test_what_the_readme_shows_runs(undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(undisturbed.parent.parent)
    joined = duckdb.sql(shown("sql join")).fetchall()
    manifest = open_catalog(undisturbed).manifest
    assert len(joined) == manifest["rows"]["total"] - manifest["rows"]["no_result"]
    assert all(same == pytest.approx(error, rel=1e-5) for _, _, error, same, _ in joined)
    names: dict[str, Any] = {}
    exec(compile(shown("python side"), "README.md", "exec"), names)
    matrix_NLL = names["covariance"]
    np.testing.assert_array_equal(matrix_NLL, matrix_NLL.swapaxes(1, 2))
    assert np.isfinite(matrix_NLL).all(axis=(1, 2)).sum() == len(joined)


def test_columns_say_their_labels_and_units(undisturbed: Path) -> None:
    side = open_catalog(side_of(undisturbed))
    about = {column["name"]: column for column in side.manifest["columns"]}
    assert "teff [K], logg [log(cm.s**-2)], fe_h [dex]" in about["covariance"]["description"]
    votable = side.schema.metadata[b"IVOA.VOTable-Parquet.content"].decode()
    assert 'name="covariance" datatype="float" arraysize="15"' in votable
    assert 'name="quantiles" datatype="float" arraysize="25"' in votable


def test_without_a_side_there_is_none_and_the_labels_are_the_same(
    run_spec: Callable[..., RunSpec], undisturbed: Path
) -> None:
    plan = make_plan(run_spec())
    report = run(plan, LOCAL)
    root = layout_of(plan).root
    assert sorted(path.name for path in root.iterdir()) == ["_staging", "test"]
    assert report.committed.side is None
    plain = open_catalog(report.catalog)
    assert "side" not in plain.manifest
    assert plain.to_arrow().equals(open_catalog(undisturbed).to_arrow())
    assert fingerprint(report.catalog) == fingerprint(undisturbed)


def interrupted(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that dies when the main catalog is published and the side catalog is not."""
    real, calls = catalogs.commit.publish, iter(range(9))

    def dies(*args: Any) -> None:
        if next(calls):
            raise Crash
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(catalogs.commit, "publish", dies)
        with pytest.raises(Crash):
            run(plan, LOCAL)
    main = layout_of(plan).catalog
    assert (main.exists(), side_of(main).exists()) == (True, False)


@pytest.mark.parametrize("command", [lambda plan: run(plan, LOCAL).committed, commit_run])
def test_a_crash_between_the_two_is_finished_by_the_same_command(
    run_spec: Callable[..., RunSpec],
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[Plan], Any],
) -> None:
    plan = make_plan(run_spec(**SIDE))
    interrupted(plan, monkeypatch)
    layout = layout_of(plan)
    receipts = {path: path.stat().st_mtime_ns for path in layout.receipts.iterdir()}
    assert command(plan).side == side_of(layout.catalog)
    assert {path: path.stat().st_mtime_ns for path in layout.receipts.iterdir()} == receipts
    assert fingerprints(layout.catalog) == fingerprints(undisturbed)
    assert not layout.scratch.exists()
    verify(layout.catalog)
    assert run(plan, LOCAL).committed.already


def test_what_is_lost_between_the_two_is_done_again_and_nothing_else(
    run_spec: Callable[..., RunSpec], undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(run_spec(**SIDE))
    interrupted(plan, monkeypatch)
    layout = layout_of(plan)
    one, *others = Stage(layout).receipts()
    (layout.staging / one.file).write_bytes(b"half")
    kept = {name.file: (layout.staging / name.file).stat().st_mtime_ns for name in others}
    run(plan, LOCAL)
    assert {file: (layout.staging / file).stat().st_mtime_ns for file in kept} == kept
    assert fingerprints(layout.catalog) == fingerprints(undisturbed)


@pytest.mark.ray
def test_ray_gives_the_bytes_of_the_local_loop(
    ray_session: None, run_spec: Callable[..., RunSpec], undisturbed: Path
) -> None:
    report = run(make_plan(run_spec(**SIDE)), Profile(actors=2))
    assert fingerprints(report.catalog) == fingerprints(undisturbed)
