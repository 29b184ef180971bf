"""`make fuzz`: broken files for every survey's reader; exit code 1 where one does not merely refuse them.

Usage: python -m tests.fuzz [SURVEY …] [--cases N] [--seed S] [--first N]
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engine.surveys import SURVEYS
from tests.fuzz.runner import Job, Report, fuzz, keep
from tests.fuzz.samples import samples_of

CASES = 20_000
EVERY_S = 5.0
# Of findings that look the same the first ones are kept.
KEPT = 3


def main(arguments: Sequence[str]) -> int:
    """Fuzz the named surveys, or all; 1 where there are findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("surveys", nargs="*", metavar="SURVEY", help=f"of {', '.join(SURVEYS)}")
    parser.add_argument("--cases", type=int, default=CASES, help="of each survey")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.surveys) - set(SURVEYS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(SURVEYS)}")
    console, reports = Console(), {}
    with tempfile.TemporaryDirectory(prefix="abundant-fuzz-") as place:
        # The index is small, and there is a new root, so a new index, for each case.
        os.environ["ABUNDANT_CACHE"] = str(Path(place) / "cache")
        for name in asked.surveys or SURVEYS:
            job = Job(survey=name, samples=samples_of(name), seed=asked.seed, place=Path(place))
            reports[name] = run(job, range(asked.first, asked.first + asked.cases), console)
    console.print(table(reports))
    return 1 if any(report.findings for report, _ in reports.values()) else 0


def run(job: Job, numbers: Sequence[int], console: Console) -> tuple[Report, float]:
    """The report of a survey and the seconds it took; findings are kept for another look as they come."""
    start = time.perf_counter()
    told = [start]
    seen: Counter[str] = Counter()

    def tell(report: Report) -> None:
        for finding in report.findings[seen.total() :]:
            seen[finding.what] += 1
            if seen[finding.what] <= KEPT:
                where = keep(job, finding, Path(tempfile.gettempdir()) / "abundant-fuzz-findings")
                console.print(f"{job.survey}: {finding.what}: {where}", markup=False, soft_wrap=True)
        if time.perf_counter() - told[0] > EVERY_S:
            told[0] = time.perf_counter()
            found = f"{report.cases} of {len(numbers)} cases, {len(report.findings)} findings"
            console.print(f"{job.survey}: {found}, {told[0] - start:.0f} s", highlight=False)

    return fuzz(job, numbers, tell), time.perf_counter() - start


def table(reports: dict[str, tuple[Report, float]]) -> Table:
    """What became of the cases, by survey."""
    shown = Table("survey", "cases", "read", "refused", "not planned", "findings", "alike", "s")
    for name, (report, seconds) in reports.items():
        fates = (report.fates[fate] for fate in ("read", "refused", "not planned"))
        alike = len({finding.what for finding in report.findings})
        figures = (report.cases, *fates, len(report.findings), alike)
        shown.add_row(name, *(f"{figure:,}" for figure in figures), f"{seconds:.0f}")
    return shown


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
