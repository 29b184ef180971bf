"""Actors with a card: spectra come through the object store, and two batches are in work at a time."""

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from catalogs.stage import Stage, data_file
from engine.draw import Card, bank_of
from engine.errors import RunError
from engine.plan import Plan, make_plan
from engine.runtime import RUNTIMES
from engine.runtime.ray_data import Steps, do_on_ray
from engine.runtime.worker import Work, Worker, load, read_batch, start_worker, work_of
from engine.spec import Profile, RunSpec
from engine.types import Batch, Receipt, Sink
from jobs.run import layout_of

CPU = torch.device("cpu")
# Where Ray lends a GPU, be it on paper.
LENT = Profile(actors=1, gpus=1)


class Meeting:
    """A worker in which two batches must meet, each in a thread of its own."""

    def __init__(self, _node: str) -> None:
        self.two, self.met = threading.Barrier(2), threading.Event()

    def label(self, batch: Batch, _read_seconds: float) -> Receipt:
        if not self.met.is_set():
            self.two.wait(timeout=60)
            self.met.set()
        rows = len(batch.spectra)
        return Receipt(
            task_id=batch.task.task_id,
            status="done",
            rows=rows,
            ok=rows,
            flagged=0,
            no_result=0,
            flag_counts={},
            file="",
            bytes=0,
            sha256="",
        )


def on_stand_in(work: Work, sink: Sink, node: str) -> Worker:
    """A worker whose card is the processor."""
    model, networks = load(work)
    assert work.spec.sampling is not None
    banks = [bank_of(network, work.spec.sampling, CPU, grouped=True) for network in networks]
    card = Card(banks, rows=work.rows, inputs=model.architecture.inputs)
    return replace(start_worker(work, sink, CPU, node), draw=card)


def staged(plan: Plan) -> Stage:
    stage = Stage(layout_of(plan))
    for folder in (stage.layout.data, stage.layout.receipts):
        folder.mkdir(parents=True)
    return stage


@pytest.mark.ray
@pytest.mark.parametrize("prepare", ["read", "actor"])
def test_labels_of_a_card_are_those_of_the_host_to_a_thousandth_of_their_errors(
    ray_session: None, run_spec: Callable[..., RunSpec], prepare: str
) -> None:
    plan, local = make_plan(run_spec()), make_plan(run_spec(catalog={"version": "local"}))
    profile = LENT.model_copy(update={"prepare": prepare})
    sink, work = staged(plan), work_of(plan, profile)
    steps = Steps(read=partial(read_batch, work), start=partial(on_stand_in, work, sink))
    receipts = list(do_on_ray(plan.tasks, plan.row_bytes, steps, profile))
    assert {receipt.task_id for receipt in receipts} == {task.task_id for task in plan.tasks}
    expected = staged(local)
    list(RUNTIMES["local"](local, expected, Profile(runtime="local")))
    for task in plan.tasks:
        rows, others = (
            pq.read_table(stage.layout.staging / data_file(task.task_id)) for stage in (sink, expected)
        )
        assert rows["flags"] == others["flags"]
        for label in ("teff", "logg", "fe_h"):
            off = np.subtract(*(table[label].to_numpy().astype(float) for table in (rows, others)))
            error = others[f"e_{label}"].to_numpy().astype(float)
            assert np.nanmax(np.abs(off / error), initial=0) < 1e-3


@pytest.mark.ray
def test_two_batches_are_in_work_at_a_time(ray_session: None, run_spec: Callable[..., RunSpec]) -> None:
    plan = make_plan(run_spec())
    steps = Steps(read=partial(read_batch, work_of(plan, LENT)), start=Meeting)
    receipts = list(do_on_ray(plan.tasks, plan.row_bytes, steps, LENT))
    assert len(receipts) == len(plan.tasks)


@pytest.mark.ray
def test_a_gpu_that_torch_cannot_use_is_told(ray_session: None, run_spec: Callable[..., RunSpec]) -> None:
    if torch.cuda.is_available():
        pytest.skip("torch can use this one")
    plan = make_plan(run_spec())
    with pytest.raises(RunError, match=r"Ray lends .* a GPU .* install the build of torch with CUDA"):
        list(RUNTIMES["ray_data"](plan, staged(plan), LENT))


def test_what_is_left_of_a_plan_fills_batches_up_as_all_of_it_did(run_spec: Callable[..., RunSpec]) -> None:
    plan = make_plan(run_spec())
    sizes = {task.task_id: task.stop - task.start for task in plan.tasks}
    largest = max(sizes.values())
    left = plan.without({task_id for task_id, rows in sizes.items() if rows == largest})
    assert left.tasks and max(task.stop - task.start for task in left.tasks) < largest
    assert work_of(left, LENT).rows == work_of(plan, LENT).rows == largest
