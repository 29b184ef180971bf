"""A whole run on Ray into an object store, over a bad network: the bytes of a local one."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

import jobs.run
from catalogs.stage import Stage, open_run
from engine.plan import make_plan
from engine.runtime import MAPS, RUNTIMES
from engine.spec import Profile, RunSpec
from jobs.run import commit_run, layout_of, run
from tests.conftest import S3_KEYS
from tests.fault_proxy import between
from tests.flows.bytes import SAME, fingerprint
from tests.flows.test_same_bytes import DyingStage
from tests.s3_server import make_bucket, objects, running

pytestmark = pytest.mark.ray

TASKS = {"rows": 40}
ON_RAY = Profile(actors=2)
CATALOG = {"name": "test", "version": "1", "side": ["covariance"]}


def test_actors_stage_and_tasks_commit_into_a_bucket_and_one_of_them_dies(
    ray_session: None, run_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    at_home = run(make_plan(run_spec(catalog=CATALOG, tasks=TASKS)), Profile(runtime="local"))
    for name, value in S3_KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jobs.run, "FEW_ROWS", 0)
    steps = Mock(side_effect=MAPS["ray_data"])
    monkeypatch.setitem(MAPS, "ray_data", steps)
    with running() as server, between(server.address, rate=0.1, seed=5) as proxy:
        make_bucket(server.address, "catalogs")
        plan = make_plan(run_spec(catalog=into(proxy.address), tasks=TASKS))
        layout = layout_of(plan)
        open_run(layout, plan.record())
        sink = DyingStage(Stage(layout), tmp_path / "killed", after_data=True)
        receipts = list(RUNTIMES["ray_data"](plan, sink, ON_RAY))
        assert sink.marker.exists()
        assert sorted(one.task_id for one in receipts) == sorted(task.task_id for task in plan.tasks)
        assert commit_run(plan, ON_RAY).rows == at_home.committed.rows
        assert proxy.done.total() > 10
        for title in ("test", "test-side"):
            there = objects(server.address, "catalogs", f"run/{title}/1/")
            same = {k: hashlib.sha256(data).hexdigest() for k, data in there.items() if k.startswith(SAME)}
            assert same == fingerprint(tmp_path / "catalogs" / title / "1")
    # The histogram, the split, and the partitions of both catalogs.
    assert steps.call_count == 4


def into(address: str) -> dict[str, Any]:
    """The same catalog in a bucket."""
    storage = {"endpoint": address, "region": "us-east-1"}
    return CATALOG | {"root": "s3://catalogs/run", "storage": storage}
