"""The `simulate` command."""

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from engine.errors import InputError
from engine.simulate import SIMULATORS, Simulator, simulate_desi
from jobs.progress import bars, say


def run_simulation(
    survey: str, folder: Path, *, stars: int, seed: int, labels: Path | None, resolution: bool
) -> Path:
    """Write a simulated survey and return its truth table; InputError for what cannot be simulated."""
    simulate = _simulator(survey, resolution=resolution)
    given = _labels(labels)
    written = 0
    with bars(Simulating=stars) as [progress]:

        def on_file(path: Path, count: int) -> None:
            nonlocal written
            written += count
            progress.reach(written, stars, path.name)

        try:
            truth = simulate(folder, stars=stars, seed=seed, labels=given, on_file=on_file)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error}") from error
    say(f"{stars:,} stars in {folder}; what is true of them: {truth}")
    return truth


def _simulator(survey: str, *, resolution: bool) -> Simulator:
    if survey not in SIMULATORS:
        raise InputError(f"cannot simulate {survey!r}; known: {', '.join(SIMULATORS)}")
    if resolution:
        return SIMULATORS[survey]
    if survey != "desi":
        raise InputError("--no-resolution: only files of desi have RESOLUTION images; leave it out")
    return partial(simulate_desi, resolution=False)


def _labels(path: Path | None) -> pa.Table | None:
    if path is None:
        return None
    try:
        return pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"--labels {path}: cannot be read as Parquet: {error}") from error
