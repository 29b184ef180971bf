"""What every registered model must keep, on every survey that can feed it."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from engine.draw import draw, thin
from engine.errors import PlanError
from engine.models import MODELS
from engine.models.architecture import Architecture, handshake
from engine.models.model import Model, load_model
from engine.route import infer
from engine.spec import Sampling, SurveySpec
from engine.surveys import SURVEYS
from engine.surveys.survey import Survey
from engine.types import Batch, Task
from tests.bundles import write_bundle
from tests.conftest import SAMPLING

CPU = torch.device("cpu")


def feeds(survey: Survey, architecture: Architecture) -> bool:
    try:
        handshake(architecture, survey.name, survey.spectrograph)
    except PlanError:
        return False
    return True


PAIRS = [(m, s) for m in MODELS for s in SURVEYS if feeds(SURVEYS[s], MODELS[m])]


@pytest.fixture(params=MODELS)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return MODELS[request.param]


def test_every_model_can_be_fed_by_a_survey() -> None:
    assert {model for model, _ in PAIRS} == set(MODELS)


def test_it_is_registered_under_its_name_with_its_source(architecture: Architecture) -> None:
    assert MODELS[architecture.name] is architecture
    assert re.fullmatch(r"[a-z][a-z0-9_]*", architecture.name)
    assert architecture.title
    assert architecture.reference


def test_its_default_network_can_be_thinned_and_drawn(architecture: Architecture) -> None:
    network = (
        architecture.build(architecture.hyper, architecture.input.grid.pixels, 3).eval().requires_grad_(False)
    )
    bank = thin(network, Sampling(draws=2), CPU)
    assert len(bank.thinned_K) == 2


@pytest.fixture(params=PAIRS, ids="-".join)
def batch_and_model(
    request: pytest.FixtureRequest, survey_root: Path, tmp_path: Path
) -> tuple[Batch, Model, tuple[torch.nn.Sequential, ...]]:
    """Forty rows of a simulated survey, and a random bundle of the model."""
    name, survey_name = request.param
    survey = SURVEYS[survey_name]
    spec = SurveySpec.model_validate({"name": survey_name, "root": survey_root, "select": {"by": "all"}})
    shard = next(iter(survey.list_shards(spec)))
    task = Task(task_id="forty", shard=shard, start=0, stop=40)
    bundle = write_bundle(tmp_path / name, sampling=SAMPLING, architecture=name)
    model, networks = load_model(
        bundle, keys=survey.keys, spectrograph=survey.spectrograph, sampling=SAMPLING
    )
    return Batch(task=task, spectra=survey.read(spec, task)), model, networks


def labels_of(rows: pa.Table, model: Model) -> np.ndarray:
    return np.stack([rows[label.name].fill_null(np.nan).to_numpy() for label in model.labels], axis=1)


def test_the_same_rows_in_the_same_order_with_the_declared_columns(
    batch_and_model: tuple[Batch, Model, tuple[torch.nn.Sequential, ...]],
) -> None:
    batch, model, networks = batch_and_model
    rows = infer(batch, model, [thin(network, SAMPLING, CPU) for network in networks])
    assert rows.column_names == [column.name for column in model.columns]
    assert rows["row_in_shard"].to_pylist() == batch.spectra["row_in_shard"].to_pylist()
    assert rows["targetid"].to_pylist() == batch.spectra["targetid"].to_pylist()
    usable = model.prepare(batch.spectra).usable_N
    assert (np.isfinite(labels_of(rows, model)) == usable[:, None]).all()


def test_permuting_rows_permutes_labels(
    batch_and_model: tuple[Batch, Model, tuple[torch.nn.Sequential, ...]],
) -> None:
    batch, model, networks = batch_and_model
    banks = [thin(network, SAMPLING, CPU) for network in networks]
    order = np.random.default_rng(0).permutation(len(batch.spectra))
    mixed = Batch(task=batch.task, spectra=batch.spectra.take(pa.array(order)))
    straight, permuted = (labels_of(infer(b, model, banks), model) for b in (batch, mixed))
    np.testing.assert_array_equal(permuted, straight[order])


def test_a_masked_pixel_cannot_change_a_label(
    batch_and_model: tuple[Batch, Model, tuple[torch.nn.Sequential, ...]],
) -> None:
    batch, model, networks = batch_and_model
    banks = [thin(network, SAMPLING, CPU) for network in networks]
    spectra = batch.spectra
    for arm in model.spectrograph.arms:
        names = [f"{kind}_{arm.name}" for kind in ("flux", "ivar", "mask")]
        flux, ivar, mask = (spectra[name].combine_chunks().to_numpy_ndarray().copy() for name in names)
        masked = mask != 0
        assert masked.any()
        flux[masked], ivar[masked] = -1e5, 7.0
        for name, array in zip(names[:2], (flux, ivar), strict=True):
            column = pa.FixedShapeTensorArray.from_numpy_ndarray(array)
            spectra = spectra.set_column(spectra.column_names.index(name), spectra.schema.field(name), column)
    before, after = (infer(Batch(task=batch.task, spectra=s), model, banks) for s in (batch.spectra, spectra))
    assert before.equals(after)


def test_what_the_network_sees_is_finite(
    batch_and_model: tuple[Batch, Model, tuple[torch.nn.Sequential, ...]],
) -> None:
    batch, model, networks = batch_and_model
    inputs = model.prepare(batch.spectra)
    assert np.isfinite(inputs.x_NP).all()
    assert not inputs.x_NP[~inputs.usable_N].any()
    draws = draw([thin(network, SAMPLING, CPU) for network in networks], inputs)
    assert draws.value_KNL.shape[:2] == (SAMPLING.draws, 40)
