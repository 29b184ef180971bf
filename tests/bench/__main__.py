"""`make bench`: measure, print a table, keep it in results/. Ratios within one run are what counts.

Usage: python -m tests.bench [NAME ...]: read networks job memory surveys support train giants commit queries
cluster scale workers requests launches bfloat16 gpu. engine/rates.toml, of which estimates are made, is
written anew.
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from engine.simulate import simulate_desi
from tests.bench import (
    bench_bfloat16,
    bench_cluster,
    bench_commit,
    bench_giants,
    bench_gpu,
    bench_job,
    bench_memory,
    bench_networks,
    bench_queries,
    bench_read,
    bench_requests,
    bench_scale,
    bench_support,
    bench_surveys,
    bench_train,
    rates,
)

RESULTS = Path(__file__).parent / "results"
KEPT = {
    "read": "main-job.json",
    "networks": "networks.json",
    "job": "main-job.json",
    "memory": "main-job.json",
    "surveys": "surveys.json",
    "support": "support.json",
    "train": "train.json",
    "giants": "giants.json",
    "commit": "catalogs.json",
    "queries": "catalogs.json",
    "cluster": "cluster.json",
    "scale": "scale.json",
    "workers": "scale.json",
    "requests": "scale.json",
    "launches": "gpu.json",
    "bfloat16": "gpu.json",
    "gpu": "gpu.json",
}
STARS = {"read": 2_100, "job": 16_000, "memory": 20_000, "cluster": 8_000}
AIMS = {
    "reader_over_raw": ">= 0.4",
    **bench_networks.AIMS,
    "ray_over_processes": ">= 0.85",
    "local_all_over_quarter": "about 1",
    "ray_data_all_over_quarter": "about 1",
    **bench_surveys.AIMS,
    **bench_support.AIMS,
    **bench_train.AIMS,
    **bench_giants.AIMS,
    **bench_commit.AIMS,
    **bench_queries.AIMS,
    **bench_cluster.AIMS,
    **bench_scale.AIMS,
    **bench_gpu.AIMS,
    **bench_bfloat16.AIMS,
}


def survey(work: Path, stars: int) -> Path:
    """A simulated survey without resolution images."""
    root = work / f"survey-{stars}"
    if not root.exists():
        simulate_desi(root, stars=stars, seed=1, resolution=False)
    return root


def benches(work: Path) -> dict[str, Callable[[], dict[str, float]]]:
    """What can be measured, by name."""
    return {
        "read": lambda: bench_read.bench(survey(work, STARS["read"])),
        "networks": bench_networks.bench,
        "job": lambda: bench_job.bench(survey(work, STARS["job"]), folder(work / "job")),
        "memory": lambda: bench_memory.bench(survey(work, STARS["memory"]), folder(work / "memory")),
        "surveys": lambda: bench_surveys.bench(folder(work / "surveys")),
        "support": lambda: bench_support.bench(folder(work / "support")),
        "train": lambda: bench_train.bench(folder(work / "train")),
        "giants": lambda: bench_giants.bench(folder(work / "giants")),
        "commit": lambda: bench_commit.bench(folder(work / "commit")),
        "queries": lambda: bench_queries.bench(folder(work / "queries")),
        "cluster": lambda: bench_cluster.bench(survey(work, STARS["cluster"]), folder(work / "cluster")),
        "scale": lambda: bench_scale.bench(folder(work / "scale")),
        "workers": lambda: bench_scale.bench_workers(folder(work / "workers")),
        "requests": lambda: bench_requests.bench(folder(work / "requests")),
        "launches": bench_gpu.bench_launches,
        "bfloat16": bench_bfloat16.bench,
        "gpu": bench_gpu.bench,
    }


def folder(path: Path) -> Path:
    """A new folder."""
    path.mkdir()
    return path


def main(names: list[str]) -> None:
    """Run the named benches, or all; keep their figures and print all that are kept in the same files."""
    console = Console()
    with tempfile.TemporaryDirectory(prefix="abundant-bench-") as place:
        work = Path(place)
        os.environ["ABUNDANT_CACHE"] = str(work / "cache")
        shown: dict[str, dict[str, float | str]] = {}
        for name, bench in benches(work).items():
            if name in names or (not names and (name != "gpu" or torch.cuda.is_available())):
                console.print(f"measuring {name} …")
                shown |= keep(RESULTS / KEPT[name], name, bench())
    rates.write()
    console.print(table(shown))


def keep(path: Path, name: str, figures: dict[str, float]) -> dict[str, dict[str, float | str]]:
    """Put the figures of a bench into a kept file, and give all of that file."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    about = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "date": time.strftime("%Y-%m-%d")}
    kept[name] = about | figures
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n")
    return kept


def table(kept: dict[str, dict[str, float | str]]) -> Table:
    """Figures beside their aims."""
    shown = Table("bench", "figure", "value", "aim")
    for name, figures in kept.items():
        for figure, value in figures.items():
            text = f"{value:,.3g}" if isinstance(value, float) and abs(value) < 1000 else str(value)
            shown.add_row(
                name,
                figure,
                f"{value:,.0f}" if isinstance(value, float) and value >= 1000 else text,
                AIMS.get(figure, ""),
            )
    return shown


if __name__ == "__main__":
    main(sys.argv[1:])
