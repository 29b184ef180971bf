"""Commits of 1, 5 and 20 million rows in files of 1,000: memory, and how cost grows."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.bench.bench_memory import own_pss
from tests.bench.big_catalog import ROWS, place, stage_survey

MILLIONS = tuple(float(one) for one in os.environ.get("ABUNDANT_BENCH_MILLIONS", "1 5 20").split())
RUNTIMES = ("local", "ray_data")
AIMS = {
    **{f"{runtime}_{m:g}m_peak_mib": "< 2048" for runtime in RUNTIMES for m in (1, 5, 20)},
    **{f"{runtime}_seconds_per_row_20m_over_1m": "about 1" for runtime in RUNTIMES},
}
EVERY_S = 0.2


def bench(work: Path) -> dict[str, float]:
    """Seconds, rows/s and peak PSS in MiB of driver and workers (Ray's daemons and store apart)."""
    found: dict[str, float] = {}
    for millions in MILLIONS:
        root = work / f"{millions:g}m"
        stage_survey(place(root), int(millions * 1e6 / ROWS))
        for runtime in RUNTIMES:
            shutil.rmtree(place(root).catalog.parent, ignore_errors=True)
            seconds, peak = commit_in_its_own_process(root, runtime)
            found[f"{runtime}_{millions:g}m_seconds"] = seconds
            found[f"{runtime}_{millions:g}m_rows_per_s"] = millions * 1e6 / seconds
            found[f"{runtime}_{millions:g}m_peak_mib"] = peak
        shutil.rmtree(root)
    least, most = MILLIONS[0], MILLIONS[-1]
    for runtime in RUNTIMES:
        per_row = [found[f"{runtime}_{m:g}m_rows_per_s"] for m in (least, most)]
        found[f"{runtime}_seconds_per_row_{most:g}m_over_{least:g}m"] = per_row[0] / per_row[1]
    return found


def commit_in_its_own_process(root: Path, runtime: str) -> tuple[float, float]:
    """Seconds of the whole process and its peak in MiB."""
    words = [sys.executable, "-m", "tests.bench.commit_job", str(root), runtime]
    environment = os.environ | {"RAY_AUTH_TOKEN_PATH": str(root.parent / "token")}
    (root.parent / "token").write_text("00" * 32)
    started, peak = time.perf_counter(), 0
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(own_pss, working(process.pid))))
            time.sleep(EVERY_S)
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"the commit of {root} ended with {process.returncode}")
    sys.stderr.write(f"{root.name} {runtime}: {json.loads(said.splitlines()[-1])}\n")
    return time.perf_counter() - started, peak / 2**20


def working(pid: int) -> list[psutil.Process]:
    """The driver and Ray's workers among its descendants."""
    try:
        driver = psutil.Process(pid)
        return [driver, *filter(_is_worker, driver.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[:1][0].startswith("ray::")
    except (psutil.Error, IndexError):
        return False
