"""verify() passes on a good catalog and finds every kind of planted damage."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from catalogs import verify
from catalogs.layout import sha256_file, write_partition
from engine.errors import InputError, VerifyError
from tests.unit.catalog_rows import KEY_NAMES, Rows, layout, publish, staged, table, tasks

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


def partitions(catalog: Path) -> list[Path]:
    return sorted(catalog.rglob("Npix=*.parquet"), key=lambda path: -path.stat().st_size)


def problems(catalog: Path) -> str:
    with pytest.raises(VerifyError) as caught:
        verify(catalog)
    return str(caught.value)


def forge(catalog: Path, path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a partition's rows and make manifest and properties agree with the new bytes."""
    rows = change(pq.ParquetFile(path).read())
    write_partition(path, rows)
    manifest = json.loads((catalog / "manifest.json").read_text())
    entry = manifest["files"][path.relative_to(catalog).as_posix()]
    entry.update(rows=len(rows), bytes=path.stat().st_size, sha256=sha256_file(path))
    rewrite(catalog, manifest)


def rewrite(catalog: Path, manifest: dict) -> None:
    old = sha256_file(catalog / "manifest.json")
    (catalog / "manifest.json").write_text(json.dumps(manifest))
    properties = catalog / "hats.properties"
    properties.write_text(properties.read_text().replace(old, sha256_file(catalog / "manifest.json")))


def replaced(rows: pa.Table, column: str, values: object) -> pa.Table:
    place = rows.schema.get_field_index(column)
    return rows.set_column(place, rows.schema.field(place), pa.array(values, rows.schema.field(place).type))


def largest(catalog: Path, change: Callable[[pa.Table], pa.Table]) -> str:
    """Forge the largest partition; its name."""
    path, *_ = partitions(catalog)
    forge(catalog, path, change)
    return path.relative_to(catalog).as_posix()


def bytes_of(catalog: Path, change: Callable[[bytes], bytes | None]) -> str:
    """Damage the bytes of the largest partition, or take it away; its name."""
    path, *_ = partitions(catalog)
    content = change(path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    return path.relative_to(catalog).as_posix()


def sealed(catalog: Path, name: str, content: bytes) -> str:
    """Replace a file beside the partitions, and let the manifest vouch for it; its name."""
    (catalog / name).write_bytes(content)
    manifest = json.loads((catalog / "manifest.json").read_text())
    manifest["files"][name] = {"bytes": len(content), "sha256": sha256_file(catalog / name)}
    rewrite(catalog, manifest)
    return name


def to_another_pixel(catalog: Path) -> str:
    first, second, *_ = partitions(catalog)
    moved = pq.ParquetFile(first).read().slice(0, 1)
    forge(catalog, first, lambda rows: rows.slice(1))
    forge(catalog, second, lambda rows: pa.concat_tables([rows, moved]).sort_by("_healpix_29"))
    return second.relative_to(catalog).as_posix()


def key_of_another(catalog: Path) -> str:
    """The row of one partition gets the key of a row in another."""
    first, second, *_ = partitions(catalog)
    taken = pq.ParquetFile(first).read().slice(0, 1)

    def rename(rows: pa.Table) -> pa.Table:
        for key in KEY_NAMES:
            rows = replaced(rows, key, [*taken[key].to_pylist(), *rows[key].to_pylist()[1:]])
        return rows

    forge(catalog, second, rename)
    return second.relative_to(catalog).as_posix()


def first_known(rows: pa.Table, column: str, value: object) -> pa.Table:
    """Set one value, of the first row that has a label."""
    values = rows[column].to_pylist()
    values[rows["teff"].is_valid().to_pylist().index(True)] = value
    return replaced(rows, column, values)


def miscounted(catalog: Path, where: Callable[[dict[str, Any]], dict[str, int]], key: str) -> str:
    manifest = json.loads((catalog / "manifest.json").read_text())
    where(manifest)[key] += 1
    rewrite(catalog, manifest)
    return "manifest.json"


def miscounted_partition(catalog: Path) -> str:
    name = partitions(catalog)[0].relative_to(catalog).as_posix()
    miscounted(catalog, lambda manifest: manifest["files"][name], "rows")
    return name


def foreign(catalog: Path) -> str:
    (catalog / "dataset" / "Norder=0" / "thesis.tex").touch()
    return "dataset/Norder=0/thesis.tex"


def property_of(catalog: Path, key: str) -> str:
    file = catalog / "hats.properties"
    file.write_text(re.sub(rf"{key}=.*", f"{key}=77", file.read_text()))
    return file.name


def footers(catalog: Path) -> str:
    """_metadata that has forgotten the rows of a partition."""
    kept = [pq.read_metadata(path) for path in sorted(partitions(catalog))[1:]]
    for footer, path in zip(kept, sorted(partitions(catalog))[1:], strict=True):
        footer.set_file_path(path.relative_to(catalog / "dataset").as_posix())
    out = catalog / "other"
    pq.write_metadata(pq.read_schema(catalog / "dataset" / "_common_metadata"), out, kept)
    content = out.read_bytes()
    out.unlink()
    return sealed(catalog, "dataset/_metadata", content)


def schema(catalog: Path) -> str:
    out = catalog / "other"
    pq.write_metadata(pa.schema([pa.field("teff", pa.float64())]), out)
    content = out.read_bytes()
    out.unlink()
    return sealed(catalog, "dataset/_common_metadata", content)


def pixel_list(catalog: Path) -> str:
    lines = (catalog / "partition_info.csv").read_text().splitlines(keepends=True)
    return sealed(catalog, "partition_info.csv", "".join(lines[:-1]).encode())


def sky_map(catalog: Path) -> str:
    with fits.open(catalog / "skymap.fits") as file:
        file[1].data["VALUE"][0] += 1
        file.writeto(catalog / "other")
    content = (catalog / "other").read_bytes()
    (catalog / "other").unlink()
    return sealed(catalog, "skymap.fits", content)


def flip(content: bytes) -> bytes:
    place = len(content) // 3
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


CLAIMED = "values of teff are there though flagged"
# Kind of damage -> how it is planted, which gives the file that must be named, and what must be said of it.
# Where rows are forged, checksums are made to agree: only the rows themselves can tell.
KINDS: dict[str, tuple[Callable[[Path], str], str]] = {
    "a row in a wrong pixel": (to_another_pixel, "1 rows lie outside the file's pixel"),
    "rows out of order": (
        lambda c: largest(c, lambda rows: rows.take([1, 0, *range(2, len(rows))])),
        "2 rows are not in order",
    ),
    "a duplicate key": (key_of_another, "holds rows with a key that occurs more than once: main/"),
    "a row missing": (lambda c: largest(c, lambda rows: rows.slice(1)), ""),
    "a row doubled": (
        lambda c: largest(c, lambda rows: pa.concat_tables([rows.slice(0, 1), rows])),
        "holds rows with a key that occurs more than once",
    ),
    "a total that is wrong": (lambda c: miscounted(c, lambda m: m["rows"], "total"), "rows total, on disk"),
    "an outcome that is wrong": (lambda c: miscounted(c, lambda m: m["rows"], "flagged"), "rows flagged, on"),
    "a partition's count that is wrong": (miscounted_partition, "the manifest says"),
    "a flag's count that is wrong": (lambda c: miscounted(c, lambda m: m["flag_counts"], "2"), "flag counts"),
    "a NULL without a bit": (
        lambda c: largest(c, lambda rows: first_known(rows, "teff", None)),
        "1 values of teff are NULL without a flag",
    ),
    "a bit of the label without a NULL": (
        lambda c: largest(c, lambda rows: first_known(rows, "flag_teff", 4)),
        f"1 {CLAIMED}",
    ),
    "a bit of the row without a NULL": (
        lambda c: largest(c, lambda rows: first_known(rows, "flags", 1)),
        f"1 {CLAIMED}",
    ),
    "a flipped byte": (lambda c: bytes_of(c, flip), "sha256 is"),
    "a truncated partition": (lambda c: bytes_of(c, lambda content: content[:-50]), "the manifest says"),
    "an empty partition": (lambda c: bytes_of(c, lambda _: b""), "cannot be read"),
    "a missing partition": (lambda c: bytes_of(c, lambda _: None), "is missing"),
    "a foreign file": (foreign, "is not in the manifest"),
    "_metadata of other rows": (footers, "does not agree with the partitions: dataset/Norder="),
    "_common_metadata of other columns": (schema, "its columns are not the manifest's"),
    "partition_info of other pixels": (pixel_list, "its pixels are not those of the partitions"),
    "a skymap of other rows": (sky_map, "does not agree with the partitions: pixel"),
    "properties of other rows": (lambda c: property_of(c, "hats_nrows"), "hats_nrows is 77"),
    "properties of other partitions": (lambda c: property_of(c, "hats_max_rows"), "hats_max_rows is 77"),
    "properties of another manifest": (
        lambda c: property_of(c, "abundant_manifest_sha256"),
        "abundant_manifest_sha256 is 77",
    ),
    "NaN instead of NULL": (
        lambda c: largest(c, lambda rows: first_known(rows, "teff", np.nan)),
        "1 values of teff are NaN",
    ),
    "an error of 0": (
        lambda c: largest(c, lambda rows: first_known(rows, "e_teff", 0.0)),
        "1 values of e_teff are not above 0",
    ),
    "an error below 0": (
        lambda c: largest(c, lambda rows: first_known(rows, "e_fe_h", -0.1)),
        "1 values of e_fe_h are not above 0",
    ),
}


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
