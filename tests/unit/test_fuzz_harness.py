"""A share of `make fuzz`, and whether the harness sees what it is there to see."""

import gzip
import os
import time
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest

from engine.errors import ShardCorrupt
from engine.spec import SurveySpec
from engine.surveys import SURVEYS
from engine.types import Task
from tests.fuzz import runner
from tests.fuzz.__main__ import main
from tests.fuzz.case import Case, attempt, case_of, read, spec_of, write
from tests.fuzz.mutate import BLIND, CARDS, TEXT, mutate
from tests.fuzz.runner import Finding, Job, Report, fuzz, judge, keep
from tests.fuzz.samples import Sample, samples_of

CASES = 60
SEED = 22


@cache
def samples(name: str) -> Sequence[Sample]:
    return samples_of(name)


def job_of(name: str, place: Path, **more: object) -> Job:
    return replace(Job(survey=name, samples=samples(name), seed=SEED, place=place), **more)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SURVEYS)
def test_a_reader_does_nothing_to_a_broken_file_but_refuse_it(name: str, tmp_path: Path) -> None:
    found = [judge(job_of(name, tmp_path), number) for number in range(CASES)]
    assert [each for each in found if isinstance(each, Finding)] == []
    assert {"read", "refused"} <= set(found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SURVEYS)
def test_what_mutations_start_from_is_whole(name: str, tmp_path: Path) -> None:
    for number, sample in enumerate(samples(name)):
        write(sample, tmp_path / str(number))
        assert read(spec_of(name, sample, tmp_path / str(number)), Random(1)) == "read", sample.form


def test_every_survey_has_samples() -> None:
    assert all(samples(name) for name in SURVEYS)


def test_a_number_always_makes_the_same_case_and_others_do_not() -> None:
    whole = samples("rave")
    first = case_of("rave", whole, SEED, 3)
    assert first == case_of("rave", whole, SEED, 3)
    assert first.sample.files[first.broken] not in [sample.files.get(first.broken) for sample in whole]
    assert len({case_of("rave", whole, SEED, number).sample.files.values() for number in range(9)}) == 9


@pytest.mark.parametrize("way", {*BLIND, *CARDS, *TEXT}, ids=lambda way: way.__name__)
def test_each_mutation_breaks_something_and_survives_nothing_to_break(way: object) -> None:
    assert callable(way)
    header = b"".join(b"%-8s=%21d%50s" % (b"NAXIS%d" % axis, axis, b"") for axis in range(36))
    whole = b"SIMPLE  = " + header[10:] + b"1.5,2.5\n3.5,4.5\n" * 9
    changed = [bytearray(whole) for _ in range(20)]
    for number, content in enumerate(changed):
        way(content, Random(number))
    assert sum(content != whole for content in changed) > 10
    for nothing in (b"", b"x"):
        way(bytearray(nothing), Random(1))


def test_what_is_gzipped_is_broken_inside_as_well_as_outside() -> None:
    packed = next(iter(next(s for s in samples("rave") if s.form.endswith(".gz")).files.values()))

    def opens(content: bytes) -> bool:
        try:
            return bool(gzip.decompress(content))
        except (OSError, EOFError, zlib.error):
            return False

    opened = [opens(mutate(packed, Random(number))) for number in range(60)]
    assert 0.5 < np.mean(opened) < 0.95


def planted(error: Exception) -> object:
    def raises(_spec: SurveySpec, _task: Task) -> None:
        raise error

    return raises


@pytest.mark.parametrize(
    ("part", "error", "seen"),
    [
        ("read", KeyError("planted"), "KeyError"),
        ("read", MemoryError(), "MemoryError"),
        ("read_ids", ShardCorrupt("planted"), "read_ids raised"),
    ],
)
def test_a_planted_error_is_a_finding(
    part: str, error: Exception, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SURVEYS, "rave", replace(SURVEYS["rave"], **{part: planted(error)}))
    found = [judge(job_of("rave", tmp_path), number) for number in range(5)]
    assert all(isinstance(each, Finding) and seen in each.what for each in found)


def test_a_reader_that_gives_other_rows_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = SURVEYS["rave"]
    short = replace(good, read=lambda spec, task: good.read(spec, task).slice(1))
    monkeypatch.setitem(SURVEYS, "rave", short)
    found = [judge(job_of("rave", tmp_path), number) for number in range(20)]
    assert any(isinstance(each, Finding) and "other rows" in each.what for each in found)


def test_memory_beyond_the_limit_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "MOST_BYTES", 100_000_000)
    good = SURVEYS["rave"]

    def greedy(spec: SurveySpec, task: Task) -> pa.Table:
        return good.read(spec, task) if np.ones(30_000_000).all() else None

    assert not isinstance(judge(job_of("rave", tmp_path), 0), Finding)
    monkeypatch.setitem(SURVEYS, "rave", replace(good, read=greedy))
    found = [judge(job_of("rave", tmp_path), number) for number in range(3)]
    assert any(isinstance(one, Finding) and one.what == "memory" for one in found)


def die_or_hang(case: Case, place: Path) -> str:
    """Case 1 takes its process down, and case 3 never ends."""
    if case.number == 1:
        os._exit(7)
    if case.number == 3:
        time.sleep(600)
    return attempt(case, place)


def test_what_a_process_dies_of_is_found_and_the_rest_is_tried(tmp_path: Path) -> None:
    job = job_of("rave", tmp_path, attempt=die_or_hang, patience_s=2.0)
    told: list[int] = []
    report = fuzz(job, range(4), lambda report: told.append(report.cases))
    assert [(finding.number, finding.what) for finding in report.findings] == [
        (1, "crash, exit code 7"),
        (3, "hang"),
    ]
    assert report.fates.total() == 2
    assert told == [1, 2, 3, 4]


def test_a_finding_is_kept_for_another_look(tmp_path: Path) -> None:
    job = job_of("rave", tmp_path)
    root = keep(job, Finding(number=3, what="what", detail="detail"), tmp_path / "findings")
    case = job.case(3)
    kept = {
        p.relative_to(root / "files").as_posix(): p.read_bytes() for p in (root / "files").rglob("*.fits*")
    }
    assert kept == case.sample.files
    assert f"--seed {SEED} --first 3 --cases 1" in (root / "finding.txt").read_text()


@pytest.mark.parametrize(("findings", "code"), [([], 0), ([Finding(number=1, what="w", detail="")], 1)])
def test_findings_decide_the_exit_code(
    findings: list[Finding], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fuzz.__main__.fuzz", lambda *_: Report(findings=findings))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["rave", "--cases", "3"]) == code
    with pytest.raises(SystemExit, match="2"):
        main(["lamost"])
