"""Staged label tables made in code: plausible stars, the columns of a real catalog, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.commit import Mapper, commit
from catalogs.layout import Layout, Product
from catalogs.report import CommitReport
from catalogs.stage import Stage, open_run
from engine.columns import catalog_columns, describe_label, schema
from engine.positions import healpix29
from engine.types import Column, Label, Shard, Task

PLAN = "ab" * 32
WORK = "ef" * 32
KEYS = (
    Column(name="survey", type=pa.string(), ucd="meta.id", description="Survey"),
    Column(name="program", type=pa.string(), ucd="meta.id", description="Program"),
    Column(name="healpix", type=pa.int32(), ucd="pos.healpix", description="HEALPix pixel"),
    Column(name="tile", type=pa.int32(), ucd="meta.id", description="Tile; NULL for stacks over tiles"),
    Column(name="targetid", type=pa.int64(), ucd="meta.id;meta.main", description="Target"),
)
KEY_NAMES = tuple(key.name for key in KEYS)
RANGES = {"teff": (3500.0, 7000.0), "logg": (0.0, 5.0), "fe_h": (-2.5, 0.5), "mg_fe": (-0.3, 0.6)}


def label(name: str) -> Label:
    """A label with its training range."""
    unit, ucd, description = describe_label(name)
    low, high = RANGES[name]
    return Label(name=name, unit=unit, ucd=ucd, description=description, low=low, high=high)


LABELS = tuple(label(name) for name in RANGES)
COLUMNS = catalog_columns(KEYS, LABELS)
FIRST_ID = 39_633_000_000_000_001  # above 2**53 and odd: a float cannot hold it


@dataclass(frozen=True)
class Rows:
    """What a table is made from; everything else follows from the seed."""

    ra: np.ndarray
    dec: np.ndarray
    first: int = 0
    task_id: str = "task"
    seed: int = 0


def task(task_id: str) -> Task:
    """A task with this id."""
    shard = Shard(path=f"{task_id}.fits", size=1, rows=1, shard_id=f"shard-{task_id}")
    return Task(task_id=task_id, shard=shard, start=0, stop=1)


def stars(number: int, *, task_id: str = "task", first: int = 0, seed: int = 0) -> pa.Table:
    """`number` stars all over the sky; 1 in 20 without result, 1 in 10 with a warning."""
    rng = np.random.default_rng([seed, first, number])
    ra, dec = rng.uniform(0, 360, number), np.degrees(np.arcsin(rng.uniform(-1, 1, number)))
    return table(Rows(ra=ra, dec=dec, first=first, task_id=task_id, seed=seed))


def table(rows: Rows) -> pa.Table:
    """Labels of stars at given positions; NaN positions become NULL."""
    number = len(rows.ra)
    rng = np.random.default_rng([rows.seed, rows.first, number, 1])
    none = rng.random(number) < 0.05
    warn = (rng.random(number) < 0.1) & ~none
    columns: dict[str, Any] = {
        "_healpix_29": healpix29(rows.ra, rows.dec),
        "survey": ["main"] * number,
        "program": rng.choice(["bright", "backup"], number).tolist(),
        "healpix": rng.integers(0, 49152, number).astype(np.int32),
        "tile": pa.nulls(number, pa.int32()),
        "targetid": FIRST_ID + 2 * (rows.first + np.arange(number)),
        "ra": pa.array(rows.ra, mask=~np.isfinite(rows.ra)),
        "dec": pa.array(rows.dec, mask=~np.isfinite(rows.dec)),
        "gaia_source_id": pa.array(rng.integers(2**60, 2**62, number), mask=rng.random(number) < 0.2),
        "flags": (none * 1 + warn * 4).astype(np.int32),
        "flag_warn": warn,
        "flag_bad": none,
        "object_type": ["TGT"] * number,
        "row_in_shard": np.arange(number, dtype=np.int32),
        "shard_id": [f"shard-{rows.task_id}"] * number,
        "task_id": [rows.task_id] * number,
        **_labels(rng, none),
    }
    for name in ("snr", "rv", "parallax", "phot_g_mean_mag"):
        columns[name] = rng.uniform(1, 100, number).astype(np.float32)
    wanted = schema(COLUMNS)
    arrays = [_array(columns.get(field.name), field.type, number) for field in wanted]
    return pa.Table.from_arrays(arrays, schema=wanted)


def _array(values: Any, kind: pa.DataType, number: int) -> pa.Array:
    if values is None:
        return pa.nulls(number, kind)
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def _labels(rng: np.random.Generator, none: np.ndarray) -> dict[str, pa.Array]:
    """A dwarf sequence and a giant branch, a thin and a thick disc."""
    giant = rng.random(len(none)) < 0.45
    fe_h = np.clip(rng.normal(-0.25, 0.3, len(none)) - 0.35 * (rng.random(len(none)) < 0.3), -2.5, 0.5)
    logg_giant = np.clip(rng.normal(2.4, 0.7, len(none)), 0.2, 3.6)
    teff = np.where(giant, 3600 + 430 * logg_giant - 350 * fe_h, rng.uniform(4300, 6900, len(none)))
    logg = np.where(giant, logg_giant, 4.65 - 0.35 * np.clip((teff - 5200) / 1200, 0, 2))
    mg_fe = np.where(fe_h < -0.45, 0.28, 0.05 - 0.12 * fe_h) + rng.normal(0, 0.03, len(none))
    values = {"teff": teff + rng.normal(0, 40, len(none)), "logg": logg + rng.normal(0, 0.06, len(none))}
    values |= {"fe_h": fe_h, "mg_fe": mg_fe}
    scale = {"teff": 60.0, "logg": 0.1, "fe_h": 0.05, "mg_fe": 0.04}
    made: dict[str, pa.Array] = {}
    for name, value in values.items():
        error = scale[name] * rng.uniform(0.5, 1.5, len(none))
        made[name] = pa.array(value.astype(np.float32), mask=none)
        made[f"e_{name}"] = pa.array(error.astype(np.float32), mask=none)
        made[f"e_{name}_model"] = pa.array((0.8 * error).astype(np.float32), mask=none)
        made[f"flag_{name}"] = pa.array(np.where(none, 4, 0).astype(np.int16))
    return made


def layout(root: Path, *, plan: str = PLAN, work: str = WORK, version: str = "v1") -> Layout:
    """The folders of a run."""
    return Layout(root=root, name="stars", version=version, plan_digest=plan, work_digest=work)


def staged(where: Layout, tables: Mapping[str, pa.Table], failures: Mapping[str, str] | None = None) -> Stage:
    """Open a run and stage tables by task id."""
    open_run(where, {"plan": where.plan_digest})
    sink = Stage(where)
    for task_id, labels in tables.items():
        sink.stage(task(task_id), labels, failure=(failures or {}).get(task_id), seconds={"draw": 0.1})
    return sink


def tasks(number: int, rows: int) -> dict[str, pa.Table]:
    """`number` tables of `rows` stars with distinct ids."""
    names = [f"t{n:03d}" for n in range(number)]
    return {name: stars(rows, task_id=name, first=n * rows) for n, name in enumerate(names)}


def publish(
    where: Layout,
    expected: Sequence[str],
    *,
    failed_allowed: int = 0,
    target_bytes: int = 20_000,
    also: Mapping[str, Any] | None = None,
    mapper: Mapper = map,
) -> CommitReport:
    """Commit with this module's columns and small partitions; `also` goes into the manifest."""
    return commit(
        where,
        expected,
        Product(keys=KEY_NAMES, columns=COLUMNS, target_bytes=target_bytes),
        manifest={"plan": {"spec": {"survey": {"name": "desi"}}, "tasks": 99}} | dict(also or {}),
        failed_allowed=failed_allowed,
        mapper=mapper,
    )
