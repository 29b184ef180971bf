"""Commits of 1, 5 and 20 million rows in files of 1,000: memory, and how cost grows.

Cost per row is told by processor seconds too: others may be at work on the machine.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.bench_memory import own_pss
from tests.bench.big_catalog import ROWS, place, rows_of, stage_survey

MILLIONS = tuple(float(one) for one in os.environ.get("ABUNDANT_BENCH_MILLIONS", "1 5 20").split())
RUNTIMES = ("local", "ray_data")
AIMS = {
    **{f"{runtime}_{m:g}m_peak_mib": "< 2048" for runtime in RUNTIMES for m in (1, 5, 20)},
    **{f"{runtime}_cpu_per_row_20m_over_{m:g}m": "about 1" for runtime in RUNTIMES for m in (1, 5)},
}
EVERY_S = 0.2
# Ray names its agents as it names its workers.
AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one commit: seconds of the clock and of processors, and the peak of its processes in MiB."""

    seconds: float
    cpu_s: float
    peak_mib: float


def bench(work: Path) -> dict[str, float]:
    """Seconds, rows/s and peak PSS in MiB of driver and workers (Ray's daemons and store apart)."""
    costs: dict[tuple[str, float], Cost] = {}
    for millions in MILLIONS:
        root = work / f"{millions:g}m"
        stage_survey(place(root), int(millions * 1e6 / ROWS), rows_of)
        for runtime in RUNTIMES:
            shutil.rmtree(place(root).catalog.parent, ignore_errors=True)
            costs[runtime, millions] = commit_in_its_own_process(root, runtime)
        shutil.rmtree(root)
    return figures(costs)


def figures(costs: Mapping[tuple[str, float], Cost]) -> dict[str, float]:
    """What is kept of the costs by runtime and millions of rows."""
    found: dict[str, float] = {}
    for (runtime, millions), cost in costs.items():
        name = f"{runtime}_{millions:g}m"
        found |= {f"{name}_seconds": cost.seconds, f"{name}_cpu_s": cost.cpu_s}
        found |= {f"{name}_rows_per_s": millions * 1e6 / cost.seconds, f"{name}_peak_mib": cost.peak_mib}
    for runtime in RUNTIMES:
        *fewer, most = sorted(millions for one, millions in costs if one == runtime)
        for few in fewer:
            ratio = costs[runtime, most].cpu_s / costs[runtime, few].cpu_s * few / most
            found[f"{runtime}_cpu_per_row_{most:g}m_over_{few:g}m"] = ratio
    return found


def commit_in_its_own_process(root: Path, runtime: str) -> Cost:
    """What the whole process cost, with its workers."""
    words = [sys.executable, "-m", "tests.bench.commit_job", str(root), runtime]
    environment = os.environ | {"RAY_AUTH_TOKEN_PATH": str(root.parent / "token")}
    (root.parent / "token").write_text("00" * 32)
    started, peak, spent = time.perf_counter(), 0, dict[int, float]()
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as process:
        while process.poll() is None:
            at_work = working(process.pid)
            peak = max(peak, sum(map(own_pss, at_work)))
            spent |= {one.pid: own_cpu(one, spent.get(one.pid, 0)) for one in at_work}
            time.sleep(EVERY_S)
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"the commit of {root} ended with {process.returncode}")
    sys.stderr.write(f"{root.name} {runtime}: {json.loads(said.splitlines()[-1])}\n")
    return Cost(time.perf_counter() - started, sum(spent.values()), peak / 2**20)


def own_cpu(process: psutil.Process, before: float) -> float:
    """Processor seconds of a process so far; those of `before` when it just ended."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return before
    return times.user + times.system


def working(pid: int) -> list[psutil.Process]:
    """The driver and Ray's workers among its descendants."""
    try:
        driver = psutil.Process(pid)
        return [driver, *filter(_is_worker, driver.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _is_worker(process: psutil.Process) -> bool:
    try:
        title = process.cmdline()[:1][0]
    except (psutil.Error, IndexError):
        return False
    return title.startswith("ray::") and title not in AGENTS
