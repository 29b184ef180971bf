"""Every kind of damage that verify must find, and how it is planted in a good catalog."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits

from catalogs.layout import sha256_file, write_partition
from tests.unit.catalog_rows import KEY_NAMES


def partitions(catalog: Path) -> list[Path]:
    return sorted(catalog.rglob("Npix=*.parquet"), key=lambda path: -path.stat().st_size)


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
