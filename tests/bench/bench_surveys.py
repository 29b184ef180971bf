"""How fast every survey's reader is, against raw reads of its files and against others that read text.

What is measured is what a run does: tasks of 512 rows, each let go before the next. One thread, warm page
cache; the ways take turns, and the median over rounds counts.
"""

import gzip
import io
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, repeat
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.table import Table
from threadpoolctl import threadpool_limits

from engine.simulate import SIMULATORS, simulate_desi
from engine.simulate.surveys.table import TABLE_COLUMNS
from engine.spec import SurveySpec
from engine.surveys import survey_of
from engine.types import Task

ROUNDS = 5
TASK_ROWS = 512
LARGER = 4
STARS = {
    "desi": 400,
    "apogee": 60,
    "apogee_visit": 60,
    "rave": 300,
    "galah": 80,
    "giraffe": 200,
    "table": 600,
}
NOT_INPUT = ("truth.parquet", "simulation.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """A bulk table of Gaia: rows to measure with, and the columns that a survey needs of it."""

    rows: int
    numbers: tuple[str, ...]
    arrays: Mapping[str, int]


XP_ARRAYS = {
    f"{band}_{name}": length
    for band in ("bp", "rp")
    for name, length in (
        ("coefficients", 55),
        ("coefficient_errors", 55),
        ("coefficient_correlations", 1485),
    )
}
PLACE = ("source_id", "ra", "dec")
BULK = {
    "gaia_rvs": Bulk(rows=1_000, numbers=PLACE, arrays={"flux": 2401, "flux_error": 2401}),
    "gaia_xp": Bulk(
        rows=1_000,
        numbers=("source_id", "bp_standard_deviation", "rp_standard_deviation"),
        arrays=XP_ARRAYS,
    ),
    "gaia_xp_sampled": Bulk(rows=2_000, numbers=PLACE, arrays={"flux": 343, "flux_error": 343}),
}
AIMS = {
    **{f"{name}_over_{other}": ">= 1" for name in BULK for other in ("pandas", "astropy")},
    **{f"{name}_peak_of_{LARGER}x_over_1x": "about 1" for name in BULK},
}


def bench(work: Path) -> dict[str, float]:
    """Spectra per second of every reader, its ratio to each other way, and how memory grows with a file."""
    found: dict[str, float] = {}
    with threadpool_limits(1):
        for name, stars in STARS.items():
            found |= rates(name, simulated(name, work / name, stars), {})
        for name, bulk in BULK.items():
            once = bulk_file(name, work / f"{name}-1", bulk.rows)
            more = bulk_file(name, work / f"{name}-{LARGER}", LARGER * bulk.rows)
            others = {
                "pandas": partial(with_pandas, once, bulk),
                "astropy": partial(with_astropy, once, bulk),
            }
            found |= rates(name, spec_of(name, once.parent), others)
            found |= memory(name, once.parent, more.parent)
    return found


def simulated(name: str, root: Path, stars: int) -> SurveySpec:
    """A simulated survey of that many stars."""
    if name == "desi":
        simulate_desi(root, stars=stars, seed=1, resolution=False)
    else:
        SIMULATORS[name](root, stars=stars, seed=1)
    return spec_of(name, root)


def spec_of(name: str, root: Path) -> SurveySpec:
    """Every row under a root."""
    own = {"root": root / "spectra", "table": TABLE_COLUMNS} if name == "table" else {"root": root}
    return SurveySpec.model_validate({"name": name, "select": {"by": "all"}, **own})


def bulk_file(name: str, root: Path, rows: int) -> Path:
    """One gzipped bulk file: the whole rows of a simulated one, over and over."""
    source = root.with_name(f"{root.name}-source")
    SIMULATORS[name](source, stars=64, seed=1)
    [path, *_] = sorted(source.rglob("*.csv.gz"))
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    head = [line for line in lines if line.startswith(b"#")]
    title, *body = lines[len(head) :]
    # astropy cannot read a source that lacks a band.
    whole = [line for line in body if b",null," not in line]
    root.mkdir()
    with gzip.open(root / path.name, "wb", compresslevel=1) as file:
        file.writelines((*head, title))
        file.writelines(islice(chain.from_iterable(repeat(whole)), rows))
    return root / path.name


def rates(name: str, spec: SurveySpec, others: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Spectra and megabytes per second of a reader, and how many times faster it is than each other way."""
    tasks, files = tasks_of(spec), inputs(Path(spec.root))
    ways = {"reader": partial(read, spec, tasks), "raw": partial(read_raw, files), **others}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS + 1):
        for way, run in ways.items():
            start = time.perf_counter()
            run()
            seconds[way].append(time.perf_counter() - start)
    # The first round warms the caches.
    taken = {way: median(times[1:]) for way, times in seconds.items()}
    spectra = sum(task.stop - task.start for task in tasks)
    size = sum(path.stat().st_size for path in files)
    found = {
        f"{name}_spectra_per_s": spectra / taken["reader"],
        f"{name}_mb_per_s": size / taken["reader"] / 1e6,
    }
    return found | {f"{name}_over_{way}": taken[way] / taken["reader"] for way in ("raw", *others)}


def tasks_of(spec: SurveySpec) -> list[Task]:
    """Tasks of TASK_ROWS rows at the most."""
    return [
        Task(task_id="bench", shard=shard, start=start, stop=min(start + TASK_ROWS, shard.rows))
        for shard in survey_of(spec).list_shards(spec)
        for start in range(0, shard.rows, TASK_ROWS)
    ]


def read(spec: SurveySpec, tasks: Iterable[Task]) -> None:
    """Read each task and let it go before the next, as a run does."""
    survey = survey_of(spec)
    for task in tasks:
        survey.read(spec, task)


def inputs(root: Path) -> list[Path]:
    """The files under a root that a reader reads."""
    paths = (path for path in root.rglob("*") if path.is_file())
    return sorted(path for path in paths if path.name not in NOT_INPUT)


def read_raw(files: Sequence[Path]) -> None:
    """All bytes of the files as they are, gzipped ones included, into one buffer."""
    buffer = bytearray(2**20)
    for path in files:
        with io.FileIO(path) as file:
            while file.readinto(buffer):
                pass


def with_pandas(path: Path, bulk: Bulk) -> dict[str, np.ndarray]:
    """The columns of a bulk file by pandas, with numpy for the arrays that it leaves as text."""
    names = [*bulk.numbers, *bulk.arrays]
    frame = pd.read_csv(path, comment="#", usecols=names, na_values=["null"])
    arrays = {name: parsed(frame[name].tolist(), length) for name, length in bulk.arrays.items()}
    return {name: frame[name].to_numpy() for name in bulk.numbers} | arrays


def parsed(texts: Sequence[object], length: int) -> np.ndarray:
    """Arrays out of texts, shape (N, length); NaN where there is none."""
    missing = np.full(length, np.nan)
    return np.stack(
        [np.fromstring(text[1:-1], sep=",") if isinstance(text, str) else missing for text in texts]
    )


def with_astropy(path: Path, bulk: Bulk) -> Table:
    """The columns of a bulk file by astropy."""
    names = [*bulk.numbers, *bulk.arrays]
    return Table.read(path, format="ascii.ecsv", include_names=names)


def memory(name: str, once: Path, more: Path) -> dict[str, float]:
    """Peak memory in MiB of reading a bulk file, imports included, and its ratio for a larger one."""
    peaks = [_apart(peak_mib, spec_of(name, root)) for root in (once, more)]
    return {f"{name}_peak_mib": peaks[0], f"{name}_peak_of_{LARGER}x_over_1x": peaks[1] / peaks[0]}


def _apart(measure: Callable[[SurveySpec], float], spec: SurveySpec) -> float:
    """A measurement in a new process: a peak is one of all that a process ever did."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measure, spec).result()


def peak_mib(spec: SurveySpec) -> float:
    """The peak memory of this process once it has read everything that the spec names."""
    pa.set_cpu_count(1)
    read(spec, tasks_of(spec))
    # Not ru_maxrss: a process begins with that of the one that started it.
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) / 1024
