"""The event log of a run: what it says, that it goes on with the run, and that it harms nobody."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

import jobs.account
from catalogs import open_catalog
from catalogs.events import Events, read_events, recording
from catalogs.stage import Stage
from engine.plan import make_plan
from engine.spec import Profile, RunSpec
from jobs.run import commit_run, layout_of, run
from tests.flows.bytes import fingerprint
from tests.flows.damage import own_files, spec_of, truncate
from tests.flows.test_touched_inputs import Interrupted

LOCAL = Profile(runtime="local")
STEPS = ("histogram", "keys", "split", "reduce", "describe", "verify", "publish")
Specs = Callable[..., RunSpec]


def dying(monkeypatch: pytest.MonkeyPatch, task: int) -> None:
    """The driver of a run is interrupted at this task, counted from 1."""
    real, calls = Stage.stage, iter(range(1, 999))

    def stage(*given: Any, **named: Any) -> Any:
        if next(calls) == task:
            raise Interrupted
        return real(*given, **named)

    monkeypatch.setattr(Stage, "stage", stage)


def test_two_drivers_write_one_log_and_the_manifest_sums_them_up(
    run_spec: Specs, survey_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truncate(own_files(survey_root, tmp_path)[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nobody-must-read-this")
    monkeypatch.setattr(jobs.account, "EVERY_S", 0.0)
    plan = make_plan(spec_of(run_spec, tmp_path, tolerance={"failed_tasks": 9}))
    layout = layout_of(plan)
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        dying(patch, 4)
        run(plan, LOCAL)
    with (layout.staging / "events.jsonl").open("a") as torn:
        torn.write('{"at": "2026-11-30T00:00:00.000+00:00", "eve')
    done = run(plan, LOCAL)
    events = read_events(layout)
    kinds = [event["event"] for event in events]
    assert [kind for kind in kinds if kind not in ("progress", "failed", "commit")] == [
        "started",
        "stopped",
        "started",
        "labelled",
        "published",
    ]
    assert events[kinds.index("stopped")] | {"at": ""} == {
        "at": "",
        "event": "stopped",
        "kind": "Interrupted",
        "reason": "",
    }
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    told_in_full(events, [one for one in Stage(layout).receipts() if one.status == "failed"])
    assert "nobody-must-read-this" not in (layout.staging / "events.jsonl").read_text()
    manifest = open_catalog(done.catalog).manifest
    said = manifest["run"]
    assert (said["drivers"], said["workers"], said["runtime"]) == (2, 1, "local")
    assert said["machines"][0].startswith(plan.record()["machine"])
    lasted = [event["seconds"] for event in events if event["event"] in ("progress", "labelled")]
    assert max(lasted) < said["seconds"] < sum(lasted)
    assert list(manifest["seconds"]["tasks"]) == ["read", "wait", "prepare", "draw", "stage"]
    assert [*manifest["seconds"]["commit"]] == ["check receipts", *STEPS[:5]]


def told_in_full(events: list[dict[str, Any]], failed: list[Any]) -> None:
    """What each event says, in a run whose second driver labelled what the first had not."""
    labelled = next(event for event in events if event["event"] == "labelled")
    assert labelled["tasks"] == labelled["of"]
    assert labelled["failed_tasks"] == len(failed) > 0
    reasons = {(event["task"], event["reason"]) for event in events if event["event"] == "failed"}
    assert reasons == {(one.task_id, one.reason) for one in failed}
    assert all(event["file"].endswith(".fits") for event in events if event["event"] == "failed")
    steps = [event["step"] for event in events if event["event"] == "commit"]
    assert tuple(steps) == STEPS
    progress = [event for event in events if event["event"] == "progress"]
    assert {*progress[-1]["in_stage"]} == {"read", "wait", "prepare", "draw", "stage"}
    assert all(event["rows_per_second"] > 0 for event in progress)


def test_a_log_that_cannot_be_written_changes_nothing(run_spec: Specs, tmp_path: Path) -> None:
    first = make_plan(run_spec())
    wanted = fingerprint(run(first, LOCAL).catalog)
    plan = make_plan(run_spec(catalog={"root": tmp_path / "elsewhere"}))
    (layout_of(plan).staging / "events.jsonl").mkdir(parents=True)
    report = run(plan, LOCAL)
    assert fingerprint(report.catalog) == wanted
    assert "run" not in open_catalog(report.catalog).manifest


def test_what_was_staged_elsewhere_is_committed_with_what_its_log_says(run_spec: Specs) -> None:
    plan = make_plan(run_spec())
    layout = layout_of(plan)
    run(plan, LOCAL)
    before = open_catalog(layout.catalog).manifest["run"]
    (layout.catalog / "hats.properties").unlink()
    for path in sorted(layout.catalog.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    layout.catalog.rmdir()
    assert open_catalog(commit_run(plan).path).manifest["run"] == before


class Stuck:
    """A server that does not answer, then fails."""

    def __init__(self) -> None:
        self.released = Event()

    def glob(self, _pattern: str) -> list[Any]:
        self.released.wait()
        return []

    def __truediv__(self, _name: str) -> "Stuck":
        return self

    def write_bytes(self, _content: bytes) -> None:
        raise OSError("still stuck")


def test_a_server_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalogs.events.LAST_S", 0.05)
    started = time.monotonic()
    monkeypatch.setattr("catalogs.events.Remote", Stuck)
    monkeypatch.setattr("catalogs.events.GATHER_S", 0.01)
    stuck = Stuck()
    layout: Any = SimpleNamespace(staging=stuck)
    with recording(layout) as events:
        for number in range(5000):
            events.tell("progress", tasks=number)
    assert time.monotonic() - started < 5
    assert isinstance(events, Events) and events.waiting.full()
    monkeypatch.setattr("catalogs.events.LAST_S", 20)
    stuck.released.set()
    while events.waiting.full():
        time.sleep(0.01)
    events.close()
    assert events.last.is_set()
