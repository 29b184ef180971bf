"""Cases in a process of their own, since a library written in C may take it down with it."""

import contextlib
import os
import resource
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from tests.fuzz.case import Broken, Case, attempt, case_of, write
from tests.fuzz.samples import Sample

PATIENCE_S = 20.0
STARTUP_S = 120.0
BATCH = 2_000
MOST_BYTES = 1_500_000_000
# Room for addresses that nothing is ever written to; beyond it, whoever asks gets a MemoryError.
MOST_ADDRESSES = 8 * 2**30
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

Attempt: TypeAlias = Callable[[Case, Path], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What must not happen: in which case, what in one line, and all that is known of it."""

    number: int
    what: str
    detail: str


@dataclass(slots=True, kw_only=True)
class Report:
    """What became of the cases of a survey."""

    fates: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    @property
    def cases(self) -> int:
        return self.fates.total() + len(self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The cases of one survey: samples and the seed that they follow from, and what to try of each."""

    survey: str
    samples: Sequence[Sample]
    seed: int
    place: Path
    attempt: Attempt = attempt
    patience_s: float = PATIENCE_S

    def case(self, number: int) -> Case:
        return case_of(self.survey, self.samples, self.seed, number)


def fuzz(job: Job, numbers: Sequence[int], tell: Callable[[Report], None]) -> Report:
    """Try the cases of these numbers, one process after the other; `tell` hears of each case."""
    report, left = Report(), list(numbers)
    while left:
        batch = left[:BATCH]
        for number, found in zip(batch, _tried(job, batch), strict=False):
            left.remove(number)
            if isinstance(found, Finding):
                report.findings.append(found)
            else:
                report.fates[found] += 1
            tell(report)
    return report


def judge(job: Job, number: int) -> str | Finding:
    """The fate of a case, or what it should not have done; in this process."""
    case = job.case(number)
    CLEAR.write_text("5")
    before, resident = _memory("VmSize"), _memory("VmRSS")
    try:
        fate = job.attempt(case, job.place)
    except Exception as error:  # noqa: BLE001 - to see which ones come is what all this is for
        return Finding(number=number, what=_in_a_line(error), detail=traceback.format_exc())
    # What the process held before is not the reader's: in the test suite that is a gigabyte.
    taken, kept = _memory("VmHWM") - resident, _memory("VmSize") - before
    if max(taken, kept) > MOST_BYTES:
        detail = f"{taken / 1e9:.1f} GB more at the peak, {kept / 1e9:.1f} GB of addresses kept"
        return Finding(number=number, what="memory", detail=detail)
    return fate


def keep(job: Job, finding: Finding, folder: Path) -> Path:
    """Write the files of a finding, and what is known of it, into a folder of their own; gives its path."""
    case = job.case(finding.number)
    root = folder / f"{job.survey}-{job.seed}-{finding.number}"
    write(case.sample, root / "files")
    about = f"{finding.what}\n\n{case.sample.form}, broken: {case.broken}\n\n{finding.detail}\n"
    again = f"python -m tests.fuzz {job.survey} --seed {job.seed} --first {finding.number} --cases 1\n"
    (root / "finding.txt").write_text(about + "\nagain: " + again)
    return root


def _in_a_line(error: Exception) -> str:
    """What findings of one cause share: the error and the innermost line of ours that it came from."""
    if isinstance(error, Broken):
        return f"broken contract: {error}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"{os.sep}engine{os.sep}" in f.filename]
    ours = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "no line of engine/"
    return f"{type(error).__name__} at {ours}"


def _tried(job: Job, numbers: Sequence[int]) -> Iterator[str | Finding]:
    """What comes of the cases, in order, until the first finding; its process tries no more."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_try_all, args=(job, numbers, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if _heard(ours, STARTUP_S) != "ready":
            raise RuntimeError(f"the process that should try {job.survey} did not begin")
        for number in numbers:
            found = _heard(ours, job.patience_s)
            yield found if found is not None else _lost(number, process, job.patience_s)
            if not isinstance(found, str):
                # A library that tripped once may have kept its memory, or be in no state for others.
                return
    finally:
        process.kill()
        process.join()


def _heard(connection: Any, seconds: float) -> Any:
    """The next message; None where none comes in time, or ever."""
    with contextlib.suppress(EOFError):
        return connection.recv() if connection.poll(seconds) else None
    return None


def _lost(number: int, process: Any, patience_s: float) -> Finding:
    process.join(1)
    if process.exitcode is None:
        return Finding(number=number, what="hang", detail=f"nothing came in {patience_s:g} s")
    return Finding(number=number, what=f"crash, exit code {process.exitcode}", detail="the process ended")


def _try_all(job: Job, numbers: Sequence[int], connection: Connection) -> None:
    """The other process."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send("ready")
    for number in numbers:
        connection.send(judge(job, number))


def _memory(key: str) -> int:
    """What the kernel says of this process, in bytes; VmHWM is the peak since CLEAR was written to."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024
