"""What lies beside the partitions, held against their rows: footers, schema, the list of pixels, the sky map.

A checksum tells that a file is the one that was published; this tells that what was published is right.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO, StringIO
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from astropy.io import fits

from catalogs.files import source
from catalogs.layout import DATASET
from catalogs.manifest import Manifest, partitions
from catalogs.pixels import SKY_ORDER
from catalogs.remote import Location
from catalogs.rowcheck import pixel_of
from engine.broken import BROKEN_BYTES

FOOTERS, SCHEMA = f"{DATASET}/_metadata", f"{DATASET}/_common_metadata"
PIXELS, SKY = "partition_info.csv", "skymap.fits"
SHOWN = 3


def disagreements(
    folder: Location, manifest: Manifest, rows: Mapping[str, int], sky: Mapping[int, int]
) -> Iterator[tuple[str, str]]:
    """Files and in what they contradict the partitions, which hold `rows`, and `sky` by pixels of order 8.

    Files that are not there are not looked for.
    """
    checks: dict[str, Callable[[Location], Iterator[str]]] = {
        FOOTERS: lambda path: _footers(path, rows),
        SCHEMA: lambda path: _schema(path, manifest),
        PIXELS: lambda path: _pixels(path, rows),
        SKY: lambda path: _sky(path, sky),
    }
    for name, check in checks.items():
        try:
            if (folder / name).is_file():
                yield from ((name, what) for what in check(folder / name))
        except BROKEN_BYTES as error:
            yield name, f"cannot be read: {(str(error).splitlines() or [type(error).__name__])[0]}"


def sizes(manifest: Manifest) -> dict[str, str]:
    """What hats.properties says of the partitions' sizes, where it says it at all."""
    rows = partitions(manifest)
    return {
        "hats_max_rows": str(max(rows.values(), default=0)),
        "hats_order": str(max((order for order, _ in map(pixel_of, rows)), default=0)),
    }


def _footers(path: Location, rows: Mapping[str, int]) -> Iterator[str]:
    footer = pq.read_metadata(source(path))
    said: dict[str, int] = {}
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        name = f"{DATASET}/{group.column(0).file_path}"
        said[name] = said.get(name, 0) + group.num_rows
    yield from _differences(said, rows, "rows")


def _schema(path: Location, manifest: Manifest) -> Iterator[str]:
    found = [(field.name, str(field.type)) for field in pq.read_schema(source(path))]
    if found != [(column["name"], column["type"]) for column in manifest["columns"]]:
        yield "its columns are not the manifest's"


def _pixels(path: Location, rows: Mapping[str, int]) -> Iterator[str]:
    """Each pixel once; older lists have the numbers of rows too."""
    listed = list(csv.DictReader(StringIO(path.read_text(encoding="utf-8"))))
    said = sorted((int(one["Norder"]), int(one["Npix"])) for one in listed)
    if said != (have := sorted(map(pixel_of, rows))):
        odd = sorted({*said} ^ {*have}) or said
        yield f"its pixels are not those of the partitions: {_some([f'{order}/{n}' for order, n in odd])}"


def _sky(path: Location, sky: Mapping[int, int]) -> Iterator[str]:
    with fits.open(BytesIO(path.read_bytes())) as file:
        table: Any = file[1]
        table = table.data
        values = np.asarray(table["VALUE"], np.int64)
        explicit = "PIXEL" in table.names
        pixels = np.asarray(table["PIXEL"], np.int64) if explicit else np.arange(len(values))
    if not explicit and len(values) != 12 * 4**SKY_ORDER:
        yield f"has {len(values)} pixels, expected those of order {SKY_ORDER}"
        return
    said = {int(pixel): int(value) for pixel, value in zip(pixels, values, strict=True) if value}
    yield from _differences(
        {f"pixel {n}": said[n] for n in said}, {f"pixel {n}": sky[n] for n in sky}, "rows"
    )


def _differences(said: Mapping[str, int], have: Mapping[str, int], what: str) -> Iterator[str]:
    """One line for all that is said otherwise than it is."""
    wrong = [name for name in sorted({*said, *have}) if said.get(name, 0) != have.get(name, 0)]
    if wrong:
        found = _some([f"{name}: {said.get(name, 0)} {what}, not {have.get(name, 0)}" for name in wrong])
        yield f"does not agree with the partitions: {found}"


def _some(words: Sequence[str]) -> str:
    return ", ".join(words[:SHOWN]) + (f" and {len(words) - SHOWN} more" if len(words) > SHOWN else "")
