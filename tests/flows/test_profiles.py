"""A profile is followed and changes no byte; one that asks for more than there is is refused at once."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.data import ActorPoolStrategy

from catalogs.stage import Stage
from engine.errors import PlanError, RunError
from engine.plan import make_plan
from engine.runtime import RUNTIMES, ranges, ray_data, ray_fit
from engine.runtime.ray_fit import Need, pool_size
from engine.spec import Profile, RunSpec
from engine.types import Receipt, Task
from jobs.run import layout_of, run
from tests.flows.bytes import fingerprint


class NoSink:
    """Nothing may reach it."""

    def stage(self, *_: Any, **__: Any) -> Receipt:
        raise AssertionError("a task was labelled")


def test_a_gpu_that_is_not_there_is_refused_locally(
    run_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PlanError, match="gpus = 1, but torch sees no CUDA device here; run without"):
        list(RUNTIMES["local"](make_plan(run_spec()), NoSink(), Profile(runtime="local", gpus=1)))


@pytest.mark.ray
@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ({"gpus": 2}, "not one actor of 1 CPUs and 2 GPUs fits beside its reader"),
        ({"cpus": 64}, "not one actor of 64 CPUs and 0 GPUs fits on a node .* lower `cpus`"),
        ({"actors": 5}, "5 actors of 1 CPUs .* do not fit .* to at most 4"),
        ({"actors": 3, "cpus": 2}, "3 actors of 2 CPUs .* to at most 2"),
    ],
)
def test_a_profile_that_the_cluster_cannot_hold_is_refused(
    ray_session: None, run_spec: Callable[..., RunSpec], profile: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        list(RUNTIMES["ray_data"](make_plan(run_spec()), NoSink(), Profile(**profile)))


@pytest.mark.parametrize(
    ("nodes", "profile", "actors"),
    [
        ([{"CPU": 2.0}, {"CPU": 2.0}], {"cpus": 2}, 2),
        ([{"CPU": 8.0, "GPU": 2.0}], {"gpus": 0.5}, 4),
        ([{"CPU": 8.0, "GPU": 2.0}, {"CPU": 16.0}], {"gpus": 1}, 2),
        ([{"CPU": 2.0, "GPU": 4.0}], {"gpus": 1}, 1),
    ],
)
def test_actors_fill_the_nodes_one_by_one(
    monkeypatch: pytest.MonkeyPatch, nodes: list[dict[str, float]], profile: dict[str, Any], actors: int
) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in nodes])
    assert pool_size(Profile(**profile)) == actors
    with pytest.raises(PlanError, match=f"to at most {actors}"):
        pool_size(Profile(**profile, actors=actors + 1))


def test_a_node_too_small_for_one_actor_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three CPUs on one node, although the cluster has four: Ray would wait for ever."""
    nodes = [{"Alive": True, "Resources": {"CPU": 2.0}}] * 2 + [{"Alive": False, "Resources": {"CPU": 64.0}}]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    with pytest.raises(PlanError, match="not one actor of 3 CPUs"):
        pool_size(Profile(cpus=3))


def test_a_cluster_that_cannot_be_joined_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setenv("RAY_ADDRESS", "nowhere:6379")
    with pytest.raises(PlanError, match=r"Could not find(?s:.*)Check RAY_ADDRESS \(now nowhere:6379\)"):
        ray_data.connect(Profile())


@pytest.mark.ray
def test_a_read_that_is_not_fused_is_refused_before_the_first_spectrum(
    ray_session: None, run_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other resources for the read than for the actor keep Ray Data from fusing them."""
    whole = ray.data.read_datasource
    monkeypatch.setattr(
        ray.data, "read_datasource", lambda source, **options: whole(source, **options | {"num_cpus": 0.5})
    )
    with pytest.raises(RunError, match="did not fuse read and actor"):
        list(RUNTIMES["ray_data"](make_plan(run_spec()), NoSink(), Profile(actors=1)))


ROOMY = {"CPU": 4.0, "GPU": 2.0, "memory": 64.0 * 2**30, "object_store_memory": 8.0 * 2**30}


@pytest.mark.parametrize(
    ("node", "profile", "need", "message"),
    [
        ({"memory": 1.3 * 2**30}, {"actors": 4}, Need(block=2**26), "4 actors need 364 MiB .* enough for 3"),
        ({"memory": 2**28}, {}, Need(), "1 actors need 300 MiB of memory each, but .* 256 MiB"),
        (
            {"object_store_memory": 2**30},
            {"actors": 2, "gpus": 1},
            Need(block=2**28, through_store=True),
            "1,024 MiB of object store each, .* enough for 1; lower `actors`",
        ),
        (
            {"object_store_memory": 2**30},
            {},
            Need(shared=2**31),
            "training set has 2,048 MiB, .* raise `object",
        ),
    ],
)
def test_memory_and_object_store_are_asked_for_before_work_starts(
    monkeypatch: pytest.MonkeyPatch, node: dict[str, float], profile: dict[str, Any], need: Need, message: str
) -> None:
    _has(monkeypatch, [ROOMY | node])
    with pytest.raises(PlanError, match=message):
        pool_size(Profile(**profile), need)
    _has(monkeypatch, [ROOMY])
    assert pool_size(Profile(**profile), need) >= 1


def test_fused_blocks_need_no_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    _has(monkeypatch, [ROOMY | {"object_store_memory": 2**27}])
    assert pool_size(Profile(), Need(block=2**27)) == 4


def test_a_joined_cluster_must_have_the_object_store_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _has(monkeypatch, [ROOMY])
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert pool_size(Profile(object_store=8 * 2**30)) == 4
    with pytest.raises(
        PlanError, match=r"object_store = 17179869184, but a node of the cluster has 8589934592"
    ):
        pool_size(Profile(object_store=16 * 2**30))


def test_nodes_of_an_autoscaler_are_asked_for_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without patience at once an error; with it, the nodes that come are counted."""
    _has(monkeypatch, [{"CPU": 0.0}])
    asked: list[list[dict[str, float]]] = []
    coming = [{"CPU": 0.0}, ROOMY, ROOMY]

    def more(bundles: list[dict[str, float]]) -> None:
        asked.append(bundles)
        _has(monkeypatch, coming)

    monkeypatch.setattr(ray_fit, "request_resources", more)
    monkeypatch.setattr(ray_fit, "POLL_S", 0.0)
    with pytest.raises(PlanError, match="a cluster with 0 CPUs and 0 GPUs has no GPU"):
        pool_size(Profile(actors=3, gpus=1))
    assert pool_size(Profile(actors=3, gpus=1, patience_minutes=1)) == 3
    bundle = {"CPU": 1.0, "GPU": 1.0}
    assert asked == [[bundle] * 3, []]
    coming = [{"CPU": 0.0}]
    _has(monkeypatch, coming)
    with pytest.raises(PlanError, match="has no GPU"):
        pool_size(Profile(actors=2, gpus=1, patience_minutes=1e-6))
    assert asked[2:] == [[bundle] * 2, []]


def _has(monkeypatch: pytest.MonkeyPatch, nodes: list[dict[str, float]]) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in nodes])


LOCAL = Profile(runtime="local")
# Every key of a profile, and a value that is not its default.
OTHERWISE: dict[str, Any] = {
    "runtime": "local",
    "actors": 2,
    "cpus": 0.5,
    "gpus": 1.0,
    "graphs": True,
    "in_flight": 5,
    "retries": 0,
    "prepare": "read",
    "checkpoint_minutes": 1.0,
    "object_store": 100 * 2**20,
    "patience_minutes": 0.1,
    "mix_machines": True,
    "address": "http://127.0.0.1:8265",
}


def test_every_key_of_a_profile_is_looked_at_here() -> None:
    assert {*OTHERWISE} == {*Profile.model_fields}
    assert all(Profile.model_fields[key].default != value for key, value in OTHERWISE.items())


@pytest.mark.ray
def test_no_key_of_a_profile_changes_a_byte(ray_session: None, run_spec: Callable[..., RunSpec]) -> None:
    """All keys at once that a machine without a GPU can follow."""
    there = {key: value for key, value in OTHERWISE.items() if key not in ("runtime", "gpus", "graphs")}
    local = run(make_plan(run_spec(catalog={"version": "local"})), LOCAL)
    found = run(make_plan(run_spec(catalog={"version": "ray"})), Profile(**there))
    assert _without_version(fingerprint(found.catalog)) == _without_version(fingerprint(local.catalog))


def _without_version(sums: dict[str, str]) -> dict[str, str]:
    """The parquet files of a catalog: their rows carry no version."""
    return {name: digest for name, digest in sums.items() if name.startswith("dataset/Norder")}


def test_a_run_that_was_begun_elsewhere_goes_on_here_only_if_it_is_told_to(
    run_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, whole = make_plan(run_spec()), RUNTIMES["local"]
    with monkeypatch.context() as patch:
        patch.setattr("engine.runtime.site._processor", lambda: "Another 9000")
        patch.setitem(RUNTIMES, "local", lambda *of: _broken_off(whole(*of)))
        with pytest.raises(KeyboardInterrupt):
            run(plan, LOCAL)
    with pytest.raises(PlanError, match=r"begun on .*Another 9000; here is .* mix_machines = true"):
        run(plan, LOCAL)
    told = run(plan, Profile(runtime="local", mix_machines=True))
    undisturbed = run(make_plan(run_spec(catalog={"version": "undisturbed"})), LOCAL)
    assert _without_version(fingerprint(told.catalog)) == _without_version(fingerprint(undisturbed.catalog))
    machines = json.loads((told.catalog / "manifest.json").read_text())["run"]["machines"]
    assert len(machines) == 2
    assert "Another 9000" in machines[0] + machines[1]


def _broken_off(receipts: Iterator[Receipt]) -> Iterator[Receipt]:
    """Three, then Ctrl-C."""
    yield from islice(receipts, 3)
    raise KeyboardInterrupt


@dataclass(frozen=True)
class Died:
    """A sink that is killed with its worker at one task, so many times; `folder` counts."""

    stage_in: Stage
    task_id: str
    times: int
    folder: Path

    def stage(self, task: Task, *args: Any, **kwargs: Any) -> Receipt:
        """Stage, or die."""
        if task.task_id == self.task_id and (died := len(list(self.folder.iterdir()))) < self.times:
            (self.folder / str(died)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.stage_in.stage(task, *args, **kwargs)


@pytest.mark.ray
def test_a_task_whose_worker_dies_is_done_again_as_often_as_the_profile_says(
    ray_session: None, run_spec: Callable[..., RunSpec], tmp_path: Path
) -> None:
    plan = make_plan(run_spec())
    sink = Died(Stage(layout_of(plan)), plan.tasks[3].task_id, 1, tmp_path / "deaths")
    for folder in (sink.folder, sink.stage_in.layout.data, sink.stage_in.layout.receipts):
        folder.mkdir(parents=True)
    with pytest.raises(RunError, match=rf"workers died 1 times over task {sink.task_id}.* raise `retries`"):
        list(RUNTIMES["ray_data"](plan, sink, Profile(actors=1, retries=0)))
    (sink.folder / "0").unlink()
    found = {receipt.task_id for receipt in RUNTIMES["ray_data"](plan, sink, Profile(actors=1, retries=1))}
    assert found == {task.task_id for task in plan.tasks}
    assert len(list(sink.folder.iterdir())) == 1


@pytest.mark.ray
def test_ranges_of_many_tasks_give_every_receipt_once_and_by_itself(
    ray_session: None, run_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two read tasks for all tasks of the plan; as many tasks in flight as the profile says."""
    asked: list[int | None] = []

    def pool(*, size: int, max_tasks_in_flight_per_actor: int) -> ActorPoolStrategy:
        asked.append(max_tasks_in_flight_per_actor)
        return ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=max_tasks_in_flight_per_actor)

    monkeypatch.setattr(ranges, "MOST", 2)
    monkeypatch.setattr(ray_data, "ActorPoolStrategy", pool)
    plan = make_plan(run_spec())
    stage = Stage(layout_of(plan))
    for folder in (stage.layout.data, stage.layout.receipts):
        folder.mkdir(parents=True)
    assert len(plan.tasks) > 6
    found = [receipt.task_id for receipt in RUNTIMES["ray_data"](plan, stage, Profile(actors=2, in_flight=7))]
    assert sorted(found) == sorted(task.task_id for task in plan.tasks)
    assert asked == [7]


@pytest.mark.parametrize("tasks", [0, 1, 7, 20_000, 20_001, 1_000_000])
def test_ranges_hold_every_task_once_in_order(tasks: int) -> None:
    found = ranges.ranges(range(tasks))  # pyright: ignore[reportArgumentType]
    assert [one for some in found for one in some] == [*range(tasks)]
    assert len(found) == tasks if tasks <= ranges.MOST else len(found) <= ranges.MOST
    assert len({len(some) for some in found[:-1]}) <= 1
