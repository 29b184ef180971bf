"""A run's catalogs: the main one, and a side catalog of wide columns with the same rows in the same order.

Its partitions are the same too. Beside its wide columns a side catalog has what makes it a catalog of its
own: position, keys, flags and where a row comes from. So all that works on a catalog works on it as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import pyarrow as pa
import pyarrow.parquet as pq

from catalogs.files import source
from catalogs.layout import Layout, Product
from catalogs.manifest import NEEDED, Manifest, partitions, read_manifest
from catalogs.remote import Location, Remote


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of a run's catalogs: where it lies, and what it publishes."""

    layout: Layout
    product: Product


def catalogs_of(layout: Layout, product: Product) -> tuple[Part, ...]:
    """The main catalog, then the side catalog if there is one."""
    shared = [column for column in product.columns if column.name in {*product.keys, *NEEDED}]
    columns = (product.columns, (*shared, *product.side))
    return tuple(
        Part(layout=where, product=replace(product, columns=what, side=()))
        for where, what in zip(layout.parts, columns, strict=False)
    )


def side_of(catalog: Location, manifest: Manifest) -> Location | None:
    """Where a main catalog's side catalog is, or should be; None where it was published without one."""
    said = manifest.get("side")
    if said is None:
        return None
    here = catalog if isinstance(catalog, Remote) else catalog.absolute()
    return here.parent.parent / said["name"] / said["version"]


def differences(main: Location, side: Location) -> Iterator[str]:
    """In what the partitions, rows or order of a side catalog differ from the main one's.

    Both have been verified each by itself. One row group of each is in memory at a time.
    """
    manifest, beside = read_manifest(main), read_manifest(side)
    if manifest["plan_digest"] != beside["plan_digest"]:
        yield f"is of plan {beside['plan_digest'][:12]}, the main catalog of {manifest['plan_digest'][:12]}"
    if manifest["keys"] != beside["keys"]:
        yield f"its keys are {'/'.join(beside['keys'])}, not {'/'.join(manifest['keys'])}"
        return
    has, needs = partitions(beside), partitions(manifest)
    if list(has) != list(needs):
        odd = sorted({*has} ^ {*needs}) or ["order"]
        yield f"its partitions are not those of the main catalog: {', '.join(odd[:5])}"
    names = [column["name"] for column in beside["columns"] if column["name"] in {*beside["keys"], *NEEDED}]
    for path in needs:
        if path in has and (bad := _unequal(main / path, side / path, names)):
            yield f"{path}: {bad} rows are not those of the main catalog"


def _unequal(main: Location, side: Location, names: Sequence[str]) -> int:
    """How many rows differ in the columns that both have."""
    pairs = zip_longest(_row_groups(main, names), _row_groups(side, names))
    return sum(_differing(one, other) for one, other in pairs)


def _row_groups(path: Location, names: Sequence[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(source(path)) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number, columns=list(names))


def _differing(one: pa.Table | None, other: pa.Table | None) -> int:
    if one is None or other is None:
        return sum(len(rows) for rows in (one, other) if rows is not None)
    if one.equals(other):
        return 0
    rows = zip_longest(one.to_pylist(), other.to_pylist())
    return sum(row != twin for row, twin in rows)
