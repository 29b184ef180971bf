"""What makes a folder of partitions a HATS catalog: schema, sky map, manifest and properties.

hats is imported inside functions: its import takes seconds and only a commit needs it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.hollow import hollow
from catalogs.layout import (
    DATASET,
    MANIFEST,
    PROPERTIES,
    Layout,
    Product,
    atomic_file,
    sha256_file,
    sync,
    write_atomic,
)
from catalogs.manifest import FORMAT
from catalogs.pixels import INDEX_ORDER, SKY_ORDER, PixelPlan
from catalogs.remote import Location, Remote
from catalogs.shuffle import Partition
from catalogs.sums import Sums, total
from engine.columns import INDEX, schema
from engine.types import Column, Receipt

DERIVED_FILES = (f"{DATASET}/_metadata", f"{DATASET}/_common_metadata", "partition_info.csv", "skymap.fits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Rows and tasks that were taken from an older version; `said` is what the manifest has of it."""

    sums: Sums = field(default_factory=Sums)
    tasks: int = 0
    said: Mapping[str, Any] | None = None


NOTHING = Taken()

VOTABLE_TYPES = {
    pa.bool_(): "boolean",
    pa.int16(): "short",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "unicodeChar",
}


def published_schema(columns: Sequence[Column], widths: Mapping[str, int]) -> pa.Schema:
    """The schema of every partition: units in the fields, and a VOTable header that astropy understands.

    astropy fails on a NULL text unless it is told each text column's longest text (`widths`).
    """
    names = {column.name for column in columns}
    widths = {name: width for name, width in widths.items() if name in names}
    header = {"IVOA.VOTable-Parquet.version": "1.0", "IVOA.VOTable-Parquet.content": votable(columns, widths)}
    header |= {f"table::len::{name}": str(_width(name, widths)) for name in widths}
    return schema(columns).with_metadata(header)


def votable(columns: Sequence[Column], widths: Mapping[str, int]) -> str:
    """A VOTable without rows that holds the columns' units, UCDs and descriptions."""
    root = ElementTree.Element("VOTABLE", version="1.4", xmlns="http://www.ivoa.net/xml/VOTable/v1.3")
    table = ElementTree.SubElement(ElementTree.SubElement(root, "RESOURCE", type="results"), "TABLE")
    for column in columns:
        about = {"name": column.name} | _votable_type(column, widths)
        about |= {key: value for key, value in (("unit", column.unit), ("ucd", column.ucd)) if value}
        field = ElementTree.SubElement(table, "FIELD", about)
        ElementTree.SubElement(field, "DESCRIPTION").text = column.description
    return ElementTree.tostring(root, encoding="unicode")


def write_derived(folder: Location, plan: PixelPlan, columns: pa.Schema) -> None:
    """Write what hats derives from the partitions: `_metadata`, the partition list and the sky map.

    `columns` is the catalog's schema. Partitions that were taken from an older version can say less in theirs
    of how long texts are, and hats would take what the first one says.
    """
    if isinstance(folder, Remote):
        with hollow(folder) as here:
            write_derived(here, plan, columns)
            for file in DERIVED_FILES:
                (folder / file).write_bytes((here / file).read_bytes())
        return
    from hats.catalog.partition_info import PartitionInfo
    from hats.io.parquet_metadata import write_parquet_metadata
    from hats.io.skymap import write_skymap
    from hats.pixel_math.healpix_pixel import HealpixPixel

    write_parquet_metadata(folder)
    common = folder / DATASET / "_common_metadata"
    if pq.read_schema(common).metadata != columns.metadata:
        pq.write_metadata(columns, common)
    pixels = [HealpixPixel(pixel.order, pixel.number) for pixel in plan.pixels]
    PartitionInfo.from_healpix(pixels).write_to_file(catalog_path=folder)
    write_skymap(plan.tally.histogram(), folder)
    for file in DERIVED_FILES:
        sync(folder / file)


def write_manifest(
    layout: Layout,
    given: Mapping[str, Any],
    *,
    product: Product,
    receipts: Sequence[Receipt],
    partitions: Sequence[Partition],
    commit_seconds: Mapping[str, float],
    taken: Taken = NOTHING,
) -> None:
    """Write manifest.json: what was committed, and under keys of his own what the caller knows of the run.

    `commit_seconds` are those of the steps that are done: what follows is not known yet.
    ValueError when the caller gives a key of the commit's: that is a bug, and one of the two would be lost.
    """
    counted = total([*(Sums.claimed(receipt) for receipt in receipts), taken.sums])
    committed = {
        "format": FORMAT,
        **_names(layout),
        "plan_digest": layout.plan_digest,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "keys": list(product.keys),
        "columns": [_plain(column) for column in product.columns],
        "rows": counted.outcomes,
        "flag_counts": counted.flag_counts,
        "tasks": len(receipts) + taken.tasks,
        **({} if taken.said is None else {"follows": dict(taken.said)}),
        "failures": _failures(receipts),
        "seconds": {"tasks": task_seconds(receipts), "commit": dict(commit_seconds)},
        "files": _files(layout.partial, partitions),
    }
    if clash := sorted(set(given) & set(committed)):
        raise ValueError(f"the manifest's keys {', '.join(clash)} are the commit's own")
    content = json.dumps({**given, **committed}, indent=1, ensure_ascii=False)
    write_atomic(layout.partial / MANIFEST, content.encode())


def write_properties(layout: Layout, plan: PixelPlan, partitions: Sequence[Partition]) -> None:
    """Write hats.properties, whose presence makes the folder a catalog."""
    from hats.catalog.dataset.table_properties import TableProperties
    from hats.io.file_io.file_pointer import get_upath

    about = _index() | _sizes(plan, partitions) | _origin(layout)
    with atomic_file(layout.partial / PROPERTIES) as temporary:
        TableProperties(**about).to_properties_file_path(
            get_upath(temporary), initial_comments="HATS catalog"
        )


def _index() -> dict[str, Any]:
    """Where HATS finds positions and partitions."""
    return {
        "dataproduct_type": "object",
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_col_healpix": INDEX.name,
        "hats_col_healpix_order": INDEX_ORDER,
        "hats_npix_suffix": ".parquet",
        "hats_skymap_order": SKY_ORDER,
        "hats_version": "v1.0",
    }


def _sizes(plan: PixelPlan, partitions: Sequence[Partition]) -> dict[str, Any]:
    return {
        "hats_nrows": plan.tally.rows,
        "hats_order": max(pixel.order for pixel in plan.pixels),
        "moc_sky_fraction": len(plan.tally.indexes) / (12 * 4**SKY_ORDER),
        "hats_max_rows": max(partition.rows for partition in partitions),
        "hats_max_bytes": max(partition.bytes for partition in partitions),
        "hats_estsize": sum(partition.bytes for partition in partitions) // 1024,
    }


def _origin(layout: Layout) -> dict[str, Any]:
    """What was published, by what and when; and the seal on the manifest."""
    return {
        "obs_collection": layout.title,
        "hats_builder": f"abundant, hats v{version('hats')}",
        "hats_creation_date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MUTC"),
        "abundant_version": layout.version,
        "abundant_plan_digest": layout.plan_digest,
        "abundant_manifest_sha256": sha256_file(layout.partial / MANIFEST),
    }


def _names(layout: Layout) -> dict[str, dict[str, str]]:
    """What the catalog is called, and the other one of the run if there is one."""
    named = {"catalog": layout}
    if layout.ending:
        named["main"] = replace(layout, ending="")
    elif layout.has_side:
        named["side"] = layout.parts[1]
    return {kind: {"name": one.title, "version": one.version} for kind, one in named.items()}


def _votable_type(column: Column, widths: Mapping[str, int]) -> dict[str, str]:
    if pa.types.is_fixed_size_list(column.type):
        kind = column.type
        return {"datatype": VOTABLE_TYPES[kind.value_type], "arraysize": str(kind.list_size)}
    size = {"arraysize": str(_width(column.name, widths))} if column.type == pa.string() else {}
    return {"datatype": VOTABLE_TYPES[column.type], **size}


def _plain(column: Column) -> dict[str, str]:
    about = {"unit": column.unit, "ucd": column.ucd, "description": column.description}
    return {"name": column.name, "type": str(column.type), **about}


def _width(column: str, widths: Mapping[str, int]) -> int:
    """Characters of the longest text; astropy reads NULL as the text "None", hence at least 4."""
    return max(4, widths.get(column, 0))


def _failures(receipts: Iterable[Receipt]) -> list[dict[str, Any]]:
    failed = (receipt for receipt in receipts if receipt.status == "failed")
    return [{"task_id": one.task_id, "rows": one.rows, "reason": one.reason} for one in failed]


def task_seconds(receipts: Iterable[Receipt]) -> dict[str, float]:
    """Seconds of work by stage, summed over tasks."""
    spent: dict[str, float] = {}
    for receipt in receipts:
        for stage, seconds in receipt.seconds.items():
            spent[stage] = spent.get(stage, 0.0) + seconds
    return {stage: round(seconds, 3) for stage, seconds in spent.items()}


def _files(folder: Location, partitions: Iterable[Partition]) -> dict[str, dict[str, Any]]:
    listed = {p.path: {"rows": p.rows, "bytes": p.bytes, "sha256": p.sha256} for p in partitions}
    for file in DERIVED_FILES:
        path = folder / file
        listed[file] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    return listed
