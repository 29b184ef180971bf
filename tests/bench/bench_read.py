"""How fast the DESI reader is, against raw reads of the same bytes and against fitsio."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TypeVar

import fitsio
import numpy as np

from engine.spec import SurveySpec
from engine.surveys.desi import DESI
from engine.types import Shard, Task

ROUNDS = 11

T = TypeVar("T")


def bench(root: Path) -> dict[str, float]:
    """Spectra per second of the three ways to read all files under `root`, and their ratios.

    raw: preadv of the nine images into one reused buffer, swapped into arrays that are allocated once.
    The three take turns, and the median over rounds is given.
    """
    spec = SurveySpec.model_validate({"name": "desi", "root": root, "select": {"by": "all"}})
    shards = list(DESI.list_shards(spec))
    tasks = [Task(task_id=shard.path, shard=shard, start=0, stop=shard.rows) for shard in shards]
    ways: dict[str, Callable[[], None]] = {
        "reader": lambda: one_by_one(lambda task: DESI.read(spec, task), tasks),
        "raw": raw_reader(root, shards),
        "fitsio": lambda: one_by_one(lambda shard: fitsio_read(root, shard), shards),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    spectra = sum(shard.rows for shard in shards)
    rates = {f"{name}_spectra_per_s": spectra / median(taken) for name, taken in seconds.items()}
    ratios = {
        f"reader_over_{name}": median(seconds[name]) / median(seconds["reader"]) for name in ("raw", "fitsio")
    }
    return rates | ratios


def one_by_one(read: Callable[[T], object], items: Sequence[T]) -> None:
    """Read each item and let it go before the next, as a run does."""
    for item in items:
        read(item)


def bench_listing(file: Path, folder: Path, files: int = 10_000) -> dict[str, float]:
    """Seconds to list that many files, hard links of one, for the first time and with the index cached.

    `folder` is new; the environment's ABUNDANT_CACHE should be too.
    """
    for number in range(files):
        link = folder / f"{number // 100}" / f"coadd-main-dark-{number}.fits"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(file)
    spec = SurveySpec.model_validate({"name": "desi", "root": folder})
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        DESI.list_shards(spec)
        seconds.append(time.perf_counter() - start)
    return {"first_listing_s": seconds[0], "cached_listing_s": seconds[1]}


def raw_reader(root: Path, shards: list[Shard]) -> Callable[[], None]:
    """A function that reads the images of all shards into native float32 arrays, and nothing else."""
    images = [(root / shard.path, extent) for shard in shards for extent in shard.extents.values()]
    shapes = {extent.shape for _, extent in images}
    arrays = {shape: np.zeros(shape, np.float32) for shape in shapes}
    buffer = np.zeros(max(4 * shape[0] * shape[1] for shape in shapes), np.uint8)

    def read() -> None:
        for path, extent in images:
            raw = buffer[: 4 * extent.shape[0] * extent.shape[1]]
            descriptor = os.open(path, os.O_RDONLY)
            os.preadv(descriptor, [raw], extent.offset)
            os.close(descriptor)
            np.copyto(arrays[extent.shape], raw.view(">f4").reshape(extent.shape))

    return read


def fitsio_read(root: Path, shard: Shard) -> list[np.ndarray]:
    """FIBERMAP and the nine images of a shard through fitsio."""
    with fitsio.FITS(str(root / shard.path)) as file:
        return [file["FIBERMAP"].read(), *(file[name].read() for name in shard.extents)]
