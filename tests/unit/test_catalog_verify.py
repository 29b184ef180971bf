"""verify() passes on a good catalog and finds every kind of planted damage."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalogs import verify
from catalogs.layout import write_partition
from engine.errors import InputError, VerifyError
from tests.unit.catalog_rows import Rows, layout, publish, staged, table, tasks
from tests.unit.planted import KINDS, first_known, forge, largest, partitions, replaced, rewrite

TASKS = {**tasks(3, 120), "lost": table(Rows(ra=np.full(9, np.nan), dec=np.full(9, np.nan), first=9000))}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = layout(tmp_path_factory.mktemp("good"))
    staged(where, TASKS)
    publish(where, list(TASKS))
    return where.catalog


@pytest.fixture
def catalog(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "v1"))


def problems(catalog: Path) -> str:
    with pytest.raises(VerifyError) as caught:
        verify(catalog)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_planted_damage_is_found_in_its_file(catalog: Path, kind: str) -> None:
    plant, said = KINDS[kind]
    file = plant(catalog)
    lines = [line.strip() for line in problems(catalog).splitlines()]
    if kind == "a row missing":
        # The partition is whole by itself: what counts its rows elsewhere tells of it.
        assert any(line.startswith("manifest.json: says 369 rows total, on disk are 368") for line in lines)
        lines = [line for line in lines if line.startswith("dataset/_metadata: ") and f"{file}: " in line]
        assert lines
        return
    assert any(line.startswith(f"{file}: ") and said in line for line in lines), lines


def test_an_error_of_0_is_right_where_all_draws_agree(catalog: Path) -> None:
    agreed = lambda rows: first_known(first_known(rows, "e_teff", 0.0), "e_teff_model", 0.0)  # noqa: E731
    largest(catalog, agreed)
    assert verify(catalog).rows == 369


def test_a_good_catalog_passes_and_is_counted(good: Path) -> None:
    report = verify(good)
    assert report.rows == 369 == report.ok + report.flagged + report.no_result
    assert report.files == len(partitions(good)) + 4


def test_missing_file(catalog: Path) -> None:
    gone, *_ = partitions(catalog)
    rows = pq.read_metadata(gone).num_rows
    gone.unlink()
    said = problems(catalog)
    assert f"{gone.relative_to(catalog)}: is missing" in said
    assert f"says 369 rows total, on disk are {369 - rows}" in said


@pytest.mark.parametrize("name", ["partition_info.csv", "skymap.fits", "dataset/_metadata"])
def test_missing_metadata(catalog: Path, name: str) -> None:
    (catalog / name).unlink()
    assert f"{name}: is missing" in problems(catalog)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 0.999])
def test_flipped_byte(catalog: Path, place: float) -> None:
    path, *_ = partitions(catalog)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 0x10
    path.write_bytes(content)
    assert f"{path.relative_to(catalog)}: sha256 is" in problems(catalog)


def test_truncated_file_is_reported_beside_all_others(catalog: Path) -> None:
    first, second, *_ = partitions(catalog)
    first.write_bytes(first.read_bytes()[:-50])
    second.unlink()
    said = problems(catalog)
    assert f"{first.relative_to(catalog)}: cannot be read" in said
    assert f"{second.relative_to(catalog)}: is missing" in said


def test_index_that_is_not_the_positions(catalog: Path) -> None:
    def shift(rows: pa.Table) -> pa.Table:
        return replaced(rows, "ra", [*rows["ra"].to_pylist()[:-1], None])

    forge(catalog, partitions(catalog)[0], shift)
    assert "1 rows have a _healpix_29 that is not that of (ra, dec)" in problems(catalog)


def test_impossible_position(catalog: Path) -> None:
    path, *_ = partitions(catalog)
    forge(catalog, path, lambda rows: replaced(rows, "dec", [200.0] * len(rows)))
    assert "rows have a _healpix_29 that is not that of (ra, dec)" in problems(catalog)


def test_unsorted_rows_across_row_groups(catalog: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, *_ = partitions(catalog)
    half = (pq.read_metadata(path).num_rows + 1) // 2
    monkeypatch.setattr("catalogs.layout.ROW_GROUP", half)
    forge(catalog, path, lambda rows: rows)
    assert verify(catalog).rows == 369
    forge(catalog, path, lambda rows: pa.concat_tables([rows.slice(half), rows.slice(0, half)]))
    assert pq.read_metadata(path).num_row_groups == 2
    assert "rows are not in order" in problems(catalog)


def test_unsorted_keys_at_one_position(catalog: Path) -> None:
    path = next(p for p in partitions(catalog) if _lost(p) == 9)
    forge(catalog, path, lambda rows: rows.take([1, 0, *range(2, len(rows))]))
    assert "rows are not in order" in problems(catalog)


def _lost(path: Path) -> int:
    return pq.ParquetFile(path).read()["ra"].null_count


def test_changed_label(catalog: Path) -> None:
    path, *_ = partitions(catalog)
    rows = pq.ParquetFile(path).read()
    write_partition(path, replaced(rows, "teff", [5777.0] * len(rows)))
    said = problems(catalog)
    assert f"{path.relative_to(catalog)}: " in said
    assert "teff are there though flagged NO_RESULT" in said


def test_null_without_a_reason(catalog: Path) -> None:
    path, *_ = partitions(catalog)

    def clear(rows: pa.Table) -> pa.Table:
        rows = replaced(rows, "flag_teff", [0] * len(rows))
        rows = replaced(rows, "flags", [0] * len(rows))
        return replaced(rows, "teff", [None] * 2 + rows["teff"].to_pylist()[2:])

    forge(catalog, path, clear)
    assert "values of teff are NULL without a flag" in problems(catalog)


def test_other_schema(catalog: Path) -> None:
    path, *_ = partitions(catalog)
    forge(catalog, path, lambda rows: rows.drop_columns(["e_teff"]))
    assert "lacks ['e_teff float']" in problems(catalog)


@pytest.mark.parametrize("change", ["total", "ok"])
def test_manifest_count(catalog: Path, change: str) -> None:
    manifest = json.loads((catalog / "manifest.json").read_text())
    manifest["rows"][change] += 1
    rewrite(catalog, manifest)
    said = problems(catalog)
    assert f"rows {change}, on disk are" in said
    assert "rows do not add up" in said


def test_edited_manifest(catalog: Path) -> None:
    path = catalog / "manifest.json"
    path.write_text(path.read_text().replace('"desi"', '"sdss"'))
    assert "abundant_manifest_sha256" in problems(catalog)


def test_deleted_properties(catalog: Path) -> None:
    (catalog / "hats.properties").unlink()
    assert "hats.properties: is missing" in problems(catalog)


def test_deleted_manifest(catalog: Path) -> None:
    (catalog / "manifest.json").unlink()
    assert "manifest.json: cannot be read" in problems(catalog)


def test_stray_partition(catalog: Path) -> None:
    path, *_ = partitions(catalog)
    shutil.copy(path, path.with_name("Npix=77.parquet"))
    assert "Npix=77.parquet: is not in the manifest" in problems(catalog)


@pytest.mark.parametrize("folder", [".", "nowhere", "thesis.tex"])
def test_no_catalog_at_all_is_a_wrong_question(tmp_path: Path, folder: str) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="is no catalog; give root/name/version"):
        verify(tmp_path / folder)


@pytest.mark.parametrize(
    "name", ["notes.txt", "dataset/thesis.tex", "dataset/.hidden.parquet", "extra/a/b.csv"]
)
def test_a_foreign_file_is_named(catalog: Path, name: str) -> None:
    (catalog / name).parent.mkdir(parents=True, exist_ok=True)
    (catalog / name).touch()
    assert f"{name}: is not in the manifest" in problems(catalog)


@pytest.mark.parametrize("name", [".DS_Store", "dataset/.nfs0001", ".snapshot/notes.txt"])
def test_what_systems_leave_is_none_of_our_business(catalog: Path, name: str) -> None:
    (catalog / name).parent.mkdir(exist_ok=True)
    (catalog / name).touch()
    assert verify(catalog).rows == 369
