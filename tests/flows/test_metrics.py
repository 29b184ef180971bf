"""What Prometheus is told of a run on Ray, scraped from the node's agent."""

import re
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from catalogs.stage import Stage
from engine.plan import make_plan
from engine.runtime.metrics import METRICS
from engine.spec import Profile, RunSpec
from jobs.run import layout_of, run
from tests.flows.damage import own_files, spec_of, truncate

SAMPLE = re.compile(r"^(ray_abundant_\w+){(.*)} (\S+)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')
OWN = ("run", "status", "outcome", "reason", "stage")
PATIENCE_S = 30.0

Samples = dict[tuple[str, ...], float]


def scraped(run_name: str) -> Samples:
    """Every sample of a run, by its name and its own labels in the order of OWN; buckets apart."""
    import ray

    [node] = [node for node in ray.nodes() if node["Alive"]]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found: Samples = {}
    for name, labels, value in (sample.groups() for line in lines if (sample := SAMPLE.match(line))):
        tags = dict(LABEL.findall(labels))
        if tags["run"] == run_name and "le" not in tags:
            found[name, *(tags[one] for one in OWN[1:] if one in tags)] = float(value)
    return found


@pytest.mark.ray
def test_progress_rows_failures_and_stages_are_told(
    ray_session: None, run_spec: Callable[..., RunSpec], survey_root: Path, tmp_path: Path
) -> None:
    truncate(own_files(survey_root, tmp_path)[0])
    plan = make_plan(spec_of(run_spec, tmp_path, tolerance={"failed_tasks": 9}, catalog={"name": "told"}))
    run(plan, Profile(actors=2))
    receipts = Stage(layout_of(plan)).receipts()
    states = Counter(receipt.status for receipt in receipts)
    assert states["failed"] and states["done"]
    wanted: Samples = {
        ("ray_abundant_tasks",): len(plan.tasks),
        ("ray_abundant_tasks_left",): 0,
        **{("ray_abundant_tasks_done_total", status): count for status, count in states.items()},
        **{
            ("ray_abundant_rows_total", outcome): sum(getattr(one, outcome) for one in receipts)
            for outcome in ("ok", "flagged", "no_result")
        },
        ("ray_abundant_failed_tasks_total", "ShardCorrupt"): states["failed"],
        **{
            ("ray_abundant_task_seconds_count", stage): len(plan.tasks)
            for stage in ("read", "wait", "prepare", "draw")
        },
    }
    deadline = time.monotonic() + PATIENCE_S
    found: Samples = {}
    while not wanted.items() <= (found := found | scraped(layout_of(plan).run)).items():
        missing = {key: (value, found.get(key)) for key, value in wanted.items() if found.get(key) != value}
        assert time.monotonic() < deadline, missing
        time.sleep(0.5)
    assert found["ray_abundant_rows_per_second",] >= 0
    spent = sum(one.seconds["draw"] for one in receipts)
    assert found["ray_abundant_stage_seconds_total", "draw"] == pytest.approx(spent)
    buckets = {name for metric in METRICS for name in metric.exported if name.endswith("_bucket")}
    assert {key[0] for key in found} | buckets == {name for metric in METRICS for name in metric.exported}
