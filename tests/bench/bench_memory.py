"""Peak memory of whole runs: does it grow with the survey?"""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import tomli_w

from engine.spec import Sampling
from tests.bundles import write_bundle

SAMPLING = Sampling(draws=20, seed=1)
EVERY_S = 0.1


def bench(root: Path, work: Path) -> dict[str, float]:
    """Peak PSS in MiB of `abundant run`, all its processes included: a quarter of the files, and all."""
    bundle = write_bundle(work / "bundle", sampling=SAMPLING)
    files = sorted(root.rglob("coadd-*.fits"))
    found: dict[str, float] = {}
    for runtime in ("local", "ray_data"):
        peaks = []
        for name, part in (("quarter", files[: len(files) // 4]), ("all", files)):
            survey = link(root, part, work / f"survey-{name}")
            peaks.append(peak_of_run(survey, bundle, work / f"{runtime}-{name}", runtime))
            found[f"{runtime}_{name}_peak_mib"] = peaks[-1]
        found[f"{runtime}_all_over_quarter"] = peaks[1] / peaks[0]
    return found


def link(root: Path, coadds: list[Path], target: Path) -> Path:
    """A tree of links to some coadds and their redrock files."""
    for coadd in coadds:
        for file in (coadd, coadd.with_name(coadd.name.replace("coadd-", "redrock-"))):
            place = target / file.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.hardlink_to(file)
    return target


def peak_of_run(survey: Path, bundle: Path, work: Path, runtime: str) -> float:
    """The largest sum of PSS over the process tree of one run, in MiB, sampled ten times a second."""
    work.mkdir()
    spec = {
        "survey": {"name": "desi", "root": str(survey), "select": {"by": "all"}},
        "model": {"bundle": str(bundle)},
        "sampling": SAMPLING.model_dump(),
        "catalog": {"name": "memory", "version": "1", "root": str(work)},
    }
    (work / "run.toml").write_text(tomli_w.dumps(spec))
    (work / "profile.toml").write_text(f'runtime = "{runtime}"\n')
    command = [
        sys.executable,
        "-m",
        "jobs",
        "run",
        str(work / "run.toml"),
        "--profile",
        str(work / "profile.toml"),
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        tree, peak = psutil.Process(process.pid), 0.0
        while process.poll() is None:
            peak = max(peak, pss_of(tree))
            time.sleep(EVERY_S)
    if process.returncode:
        raise RuntimeError(f"the run in {work} ended with {process.returncode}")
    return peak / 2**20


def pss_of(tree: psutil.Process) -> int:
    """Proportional set size of a process and its descendants, in bytes; processes that just ended count 0."""
    try:
        processes = [tree, *tree.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(map(own_pss, processes))


def own_pss(process: psutil.Process) -> int:
    """Proportional set size of one process in bytes; 0 when it just ended."""
    try:
        return process.memory_full_info().pss
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return 0
