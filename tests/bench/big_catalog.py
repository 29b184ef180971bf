"""Staged labels of a large survey, made in code: as many rows as asked for, 60 columns, files of 1,000 stars.

Files lie as a survey's do, one after the other along the sky, each on a patch of half a degree. What is in
them is random and cheap to make; simulated_rows.py makes rows like those of a run.
"""

from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.layout import Layout, Product
from catalogs.stage import Stage, open_run
from engine.columns import catalog_columns, describe_label, schema
from engine.positions import healpix29
from engine.types import Column, Label
from tests.unit.catalog_rows import FIRST_ID, KEY_NAMES, KEYS, task

Doubles = np.ndarray[Any, np.dtype[np.float64]]
# The rows of one file, by its number and how many there are.
Maker = Callable[[int, int], pa.Table]

ROWS = 1_000
# Name: mean and scatter of the label, size of its error.
POPULATION = {
    "teff": (5000.0, 700.0, 60.0),
    "logg": (3.4, 1.1, 0.1),
    "fe_h": (-0.3, 0.4, 0.05),
    "mg_fe": (0.1, 0.12, 0.04),
}
# Other measured columns: from, to.
MEASURED = {
    "snr": (2, 150),
    "good_fraction": (0.9, 1),
    "support_chi2": (0.8, 1.4),
    "support_mahalanobis": (1, 20),
    "support_neighbours": (0.1, 2),
    "support_hidden": (0.5, 3),
    "wiggle": (0, 0.1),
    "largest_gap": (0, 50),
    "phot_g_mean_mag": (12, 20),
    "phot_bp_mean_mag": (12, 20),
    "phot_rp_mean_mag": (12, 20),
    "parallax": (-0.1, 4),
    "ebv": (0, 0.5),
    "rv": (-300, 300),
    "rv_err": (0.1, 20),
}
SAID = {
    "survey": "main",
    "object_type": "TGT",
    "spectype": "STAR",
    "rv_source": "rvtab",
    "position_source": "file",
}


def label(name: str) -> Label:
    """A label with the training range of its population."""
    unit, ucd, description = describe_label(name)
    centre, scatter, _ = POPULATION[name]
    return Label(
        name=name,
        unit=unit,
        ucd=ucd,
        description=description,
        low=centre - 3 * scatter,
        high=centre + 3 * scatter,
    )


# A key of exposures, which stacks leave NULL, makes them 60.
EXPOSURE = Column(name="expid", type=pa.int32(), ucd="meta.id", description="Exposure; NULL for stacks")
COLUMNS = catalog_columns((*KEYS, EXPOSURE), tuple(label(name) for name in POPULATION))
SCHEMA = schema(COLUMNS)
PRODUCT = Product(keys=(*KEY_NAMES, "expid"), columns=COLUMNS)


def place(root: Path) -> Layout:
    """Where a survey under `root` is staged and published."""
    return Layout(root=root, name="big", version="1", plan_digest="ab" * 32, work_digest="cd" * 32)


def stage_survey(layout: Layout, files: int, make: Maker) -> list[str]:
    """Stage so many tasks of ROWS stars each; their ids come back."""
    open_run(layout, {"plan": layout.plan_digest})
    with get_context("spawn").Pool() as pool:
        return pool.map(partial(_stage, layout, files, make), range(files), chunksize=100)


def _stage(layout: Layout, files: int, make: Maker, number: int) -> str:
    name = f"{number:07d}"
    Stage(layout).stage(task(name), make(number, files), failure=None, seconds={"draw": 0.1})
    return name


def rows_of(number: int, files: int) -> pa.Table:
    """The rows of one file of so many; everything that is measured is a random number of its own."""
    rng = np.random.default_rng([7, number])
    ra, dec = _patch(rng, number, files)
    none, warn = rng.random(ROWS) < 0.03, rng.random(ROWS) < 0.08
    columns: dict[str, Any] = {
        "_healpix_29": healpix29(ra, dec),
        "program": pa.repeat(("bright", "dark", "backup")[number % 3], ROWS),
        "healpix": np.full(ROWS, number % 49_152, np.int32),
        "targetid": FIRST_ID + 2 * (number * ROWS + rng.permutation(ROWS)),
        "ra": ra,
        "dec": dec,
        "gaia_source_id": pa.array(rng.integers(2**40, 2**62, ROWS), mask=rng.random(ROWS) < 0.2),
        "flags": (none * 1 + (warn & ~none) * 4).astype(np.int32),
        "flag_warn": warn & ~none,
        "flag_bad": none,
        "row_in_shard": np.arange(ROWS, dtype=np.int32),
        "shard_id": pa.repeat(f"shard-{number:07d}-{number * 2_654_435_761 % 2**32:08x}", ROWS),
        "task_id": pa.repeat(f"{number:07d}", ROWS),
        **_labels(rng, none),
    }
    columns |= {name: pa.repeat(text, ROWS) for name, text in SAID.items()}
    columns |= {name: _between(rng, *bounds) for name, bounds in MEASURED.items()}
    arrays = [_array(columns.get(field.name), field.type) for field in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _patch(rng: np.random.Generator, number: int, files: int) -> tuple[Doubles, Doubles]:
    """Positions on the `number`-th of patches that wind around the sky (a Fibonacci lattice)."""
    z = 1 - (2 * number + 1) / files
    centre = number * 180 * (3 - 5**0.5) % 360
    dec = np.clip(np.degrees(np.arcsin(z)) + rng.uniform(-0.5, 0.5, ROWS), -90, 90)
    return (centre + rng.uniform(-0.5, 0.5, ROWS) / np.maximum(np.cos(np.radians(dec)), 0.01)) % 360, dec


def _between(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    return rng.uniform(low, high, ROWS).astype(np.float32)


def _labels(rng: np.random.Generator, none: np.ndarray) -> dict[str, pa.Array]:
    made: dict[str, pa.Array] = {}
    for name, (centre, scatter, size) in POPULATION.items():
        error = size * rng.lognormal(0, 0.4, ROWS)
        columns = {name: rng.normal(centre, scatter, ROWS), f"e_{name}": error}
        columns |= {f"e_{name}_model": 0.8 * error, f"e_{name}_noise": 0.6 * error}
        for column, values in columns.items():
            made[column] = pa.array(values.astype(np.float32), mask=none)
        made[f"flag_{name}"] = pa.array(np.where(none, 4, 0).astype(np.int16))
    return made


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if values is None:
        return pa.nulls(ROWS, kind)
    return values if isinstance(values, pa.Array) else pa.array(values, kind)
