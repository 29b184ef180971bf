"""A published version whose tasks lie in regions of the sky of their own, and versions that follow it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import catalogs.commit
from catalogs.commit import Mapper, commit
from catalogs.follow import Followed, open_followed
from catalogs.layout import Layout, Product
from catalogs.remote import Location
from catalogs.report import CommitReport
from tests.unit.catalog_rows import COLUMNS, KEY_NAMES, Rows, layout, staged, table

PRODUCT = Product(keys=KEY_NAMES, columns=COLUMNS, target_bytes=8_000)
Tables = Mapping[str, pa.Table]


def region(number: int, task_id: str, *, first: int = 0, rows: int = 150) -> pa.Table:
    """Stars between RA 60 n and 60 n + 20, with ids from 1000 n + `first` on."""
    rng = np.random.default_rng([number, first, rows])
    ra, dec = 60 * number + rng.uniform(0, 20, rows), rng.uniform(-60, 60, rows)
    return table(Rows(ra=ra, dec=dec, first=1000 * number + first, task_id=task_id))


def again(rows: pa.Table, task_id: str) -> pa.Table:
    """The same stars, labelled again in another task."""
    changed = {
        "task_id": pa.array([task_id] * len(rows)),
        "shard_id": pa.array([f"shard-{task_id}"] * len(rows)),
        "snr": pa.array(rows["snr"].to_numpy() + np.float32(1)),
    }
    for name, values in changed.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(name), values)
    return rows


OLD: Tables = {f"t{n}": region(n, f"t{n}") for n in range(5)}


@dataclass(frozen=True)
class Change:
    """What is staged anew, and which tasks are kept."""

    new: Tables
    kept: tuple[str, ...] = tuple(OLD)

    @property
    def every(self) -> Tables:
        """All tasks of the new version."""
        return {name: OLD[name] for name in self.kept} | dict(self.new)


CHANGES = {
    "append": Change({"m1": region(1, "m1", first=500, rows=60)}),
    "append where nothing was": Change({"m5": region(5, "m5")}),
    "replace": Change({"r2": again(OLD["t2"], "r2")}, kept=("t0", "t1", "t3", "t4")),
    "remove": Change({}, kept=("t0", "t1", "t2", "t4")),
    "nothing": Change({}),
    "a task without rows": Change({"e0": OLD["t0"].slice(0, 0)}),
    "all": Change({f"b{name[1]}": again(OLD[name], f"b{name[1]}") for name in OLD}, kept=()),
    "all of it at once": Change(
        {"r2": again(OLD["t2"], "r2"), "m1": region(1, "m1", first=300), "m5": region(5, "m5")},
        kept=("t0", "t1", "t4"),
    ),
    "grown": Change({f"m{n}": region(1, f"m{n}", first=200 * n, rows=200) for n in range(1, 4)}),
}


def first(root: Location, tables: Tables = OLD, product: Product = PRODUCT) -> Layout:
    """Version v1, published."""
    where = replace(layout(root), has_side=bool(product.side))
    staged(where, tables)
    commit(where, list(tables), product, manifest={}, failed_allowed=0)
    return where


def second(where: Layout) -> Layout:
    """The places of v2."""
    return replace(where, version="v2", plan_digest="cd" * 32, work_digest="12" * 32)


def followed(where: Layout, kept: tuple[str, ...], product: Product = PRODUCT) -> Followed:
    """v1 as v2 follows it."""
    return replace(open_followed(where, "v1", product), kept=frozenset(kept))


def follow(
    where: Layout, change: Change, *, product: Product = PRODUCT, mapper: Mapper = map
) -> CommitReport:
    """Stage what is new and commit v2."""
    staged(where, change.new)
    found = followed(where, change.kept, product)
    return commit(
        where, list(change.new), product, manifest={}, failed_allowed=0, followed=found, mapper=mapper
    )


def cut_alike(root: Path, where: Layout, change: Change, patch: Any, product: Product = PRODUCT) -> Layout:
    """A full run of v2 from scratch elsewhere, cut into the pixels that v2 has."""
    again = open_followed(replace(where, version="v3"), where.version, product)
    cut = tuple(old.pixel for old in again.partitions)
    full = replace(where, root=root)
    staged(full, change.every)
    with patch.context() as patched:
        patched.setattr(catalogs.commit, "align", lambda *_: cut)
        commit(full, list(change.every), product, manifest={}, failed_allowed=0)
    return full
