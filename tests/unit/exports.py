"""A catalog to export: 300 rows with NULLs, flags in words, and a plan as a run's manifest has it."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from engine.flags import FLAGS
from tests.unit.catalog_rows import layout, publish, staged, tasks

NAMES = ("t000", "t001", "t002")
FLAG_WORDS = [{"bit": f.bit, "name": f.name, "severity": f.severity, "text": f.text} for f in FLAGS]
PLAN: dict[str, Any] = {
    "spec": {
        "survey": {"name": "desi", "root": "/data/desi", "select": {"by": "targets", "path": None}},
        "model": {"bundle": "/data/bundle", "sha256": "cd" * 32},
        "sampling": {"draws": 6, "seed": 3},
    },
    "versions": {"abundant": "0.0.9", "torch": "2.0"},
    "bundle_sha256": "cd" * 32,
    "card": {"name": "small", "architecture": "desi_mlp_4", "licence": "CC0-1.0", "labels": []},
}


def catalog(root: Path, **also: Any) -> Path:
    """Publish it; what is given goes into the manifest."""
    where = layout(root)
    made = tasks(len(NAMES), 100)
    made[NAMES[0]] = _odd(made[NAMES[0]])
    staged(where, made)
    shards = {f"shard-{name}": f"{name}.fits" for name in NAMES}
    publish(where, NAMES, also={"plan": PLAN, "flags": FLAG_WORDS, "shards": shards} | also)
    assert isinstance(where.catalog, Path)
    return where.catalog


def _odd(rows: pa.Table) -> pa.Table:
    """Texts that are empty, NULL, not ASCII or long; an integer that is NULL here and there."""
    texts = [None, "", "Ångström …", "x" * 70] * (len(rows) // 4)
    rows = _with(rows, "object_type", pa.array(texts, pa.string()))
    tiles = [None if row % 3 else row for row in range(len(rows))]
    return _with(rows, "tile", pa.array(tiles, pa.int32()))


def _with(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, rows.schema.field(name), values)
