"""A task travels through Ray Data as one row, whatever it holds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engine.errors import StagingError, TaskMismatch
from engine.runtime.blocks import pack, pack_outcome, unpack, unpack_outcome
from engine.spec import SurveySpec
from engine.surveys import SURVEYS
from engine.types import Batch, Receipt, Task
from tests.inputs import inputs_of


@pytest.fixture
def batch(survey_root: Path) -> Batch:
    spec = SurveySpec.model_validate({"name": "desi", "root": survey_root, "select": {"by": "all"}})
    shard = next(iter(SURVEYS["desi"].list_shards(spec)))
    task = Task(task_id="t", shard=shard, start=3, stop=14)
    return Batch(task=task, spectra=SURVEYS["desi"].read(spec, task))


def test_what_goes_in_comes_out_without_a_copy(batch: Batch) -> None:
    block = pack(batch, started=0.0)
    assert len(block) == 1
    again, seconds = unpack(block)
    assert again.task == batch.task
    assert again.spectra.equals(batch.spectra)
    assert seconds > 0
    assert 0 <= again.wait_seconds < 60
    flux = batch.spectra["flux_b"].chunk(0).storage.flatten().buffers()[1]
    assert again.spectra["flux_b"].chunk(0).storage.flatten().buffers()[1].address == flux.address


def test_prepared_inputs_travel_instead_of_pixels(batch: Batch) -> None:
    x_NI = np.random.default_rng(0).normal(size=(len(batch.spectra), 30)).astype(np.float32)
    prepared = replace(batch, inputs=inputs_of(x_NI, np.abs(x_NI)), prepare_seconds=1.5)
    again, _ = unpack(pack(prepared, started=0.0))
    assert again.inputs is not None
    assert again.prepare_seconds == 1.5
    np.testing.assert_array_equal(again.inputs.x_NI, x_NI)
    np.testing.assert_array_equal(again.inputs.spectra.ivar_NP, np.abs(x_NI))
    assert again.inputs.extras.value_NE.shape == (len(x_NI), 0)
    assert "flux_b" not in again.spectra.column_names
    assert again.spectra["targetid"].equals(batch.spectra["targetid"])


@pytest.mark.parametrize("failure", [None, "ShardCorrupt: no longer FITS"])
def test_a_task_without_rows_is_still_one_row(batch: Batch, failure: str | None) -> None:
    empty = Batch(task=batch.task, spectra=batch.spectra.slice(0, 0), failure=failure)
    again, _ = unpack(pack(empty, started=0.0))
    assert (len(again.spectra), again.failure) == (0, failure)
    assert again.spectra.schema == batch.spectra.schema


def test_two_tasks_in_one_block_are_an_error(batch: Batch) -> None:
    block = pack(batch, started=0.0)
    with pytest.raises(TaskMismatch, match="2 tasks"):
        unpack(pa.concat_tables([block, block]))


def test_receipts_travel_and_errors_are_raised_on_arrival() -> None:
    receipt = Receipt(
        task_id="t", status="done", rows=3, ok=1, flagged=1, no_result=1, flag_counts={"0": 1},
        file="data/t.parquet", bytes=9, sha256="00", seconds={"read": 0.5},
    )  # fmt: skip
    row = pack_outcome(receipt).to_pylist()[0]
    assert unpack_outcome(**row) == receipt
    with pytest.raises(StagingError, match="full"):
        unpack_outcome(**pack_outcome(StagingError("the disk is full")).to_pylist()[0])
