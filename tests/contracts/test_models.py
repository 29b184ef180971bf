"""What every registered model must keep, on every survey that can feed it."""

import re
from collections.abc import Callable
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
from engine.prepare.gather import tensor
from engine.route import infer
from engine.simulate.surveys.table import TABLE_COLUMNS
from engine.spec import Sampling, SurveySpec
from engine.surveys import SURVEYS, survey_of
from engine.surveys.survey import Survey
from engine.types import Batch, Task
from tests.bundles import write_bundle
from tests.conftest import SAMPLING

CPU = torch.device("cpu")


# A survey whose columns only the spec knows stands for itself by the table that is simulated.
RECORDS = {
    name: survey.configure(SurveySpec.model_validate({"name": name, "root": ".", "table": TABLE_COLUMNS}))
    if survey.configure
    else survey
    for name, survey in SURVEYS.items()
}


def feeds(survey: Survey, architecture: Architecture) -> bool:
    try:
        handshake(architecture, survey.name, survey.spectrograph)
    except PlanError:
        return False
    return True


PAIRS = [(m, s) for m in MODELS for s in SURVEYS if feeds(RECORDS[s], MODELS[m])]


@pytest.fixture(params=MODELS)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return MODELS[request.param]


def test_every_model_can_be_fed_by_a_survey_and_every_survey_feeds_one() -> None:
    assert {model for model, _ in PAIRS} == set(MODELS)
    assert {survey for _, survey in PAIRS} == set(SURVEYS)


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
    request: pytest.FixtureRequest, simulated: Callable[[str], SurveySpec], tmp_path: Path
) -> tuple[Batch, Model, tuple[torch.nn.Sequential, ...]]:
    """Forty rows of a simulated survey, and a random bundle of the model."""
    name, survey_name = request.param
    spec = simulated(survey_name)
    survey = survey_of(spec)
    shard = max(survey.list_shards(spec), key=lambda shard: shard.rows)
    task = Task(task_id="forty", shard=shard, start=0, stop=min(40, shard.rows))
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
    assert rows["ra"].to_pylist() == batch.spectra["ra"].to_pylist()
    usable = model.prepare(batch.spectra).usable_N
    assert usable.mean() > 0.5
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
    spoilt = (spoil(batch.spectra, model, *garbage) for garbage in ((-1e5, 7.0), (3e4, 0.2)))
    one, other = (infer(Batch(task=batch.task, spectra=spectra), model, banks) for spectra in spoilt)
    assert one.equals(other)


def spoil(spectra: pa.Table, model: Model, flux: float, ivar: float) -> pa.Table:
    """Spectra with one more pixel in a hundred masked, and other numbers under every mask."""
    generator = np.random.default_rng(0)
    for arm in model.spectrograph.arms:
        arrays = {kind: tensor(spectra, f"{kind}_{arm.name}").copy() for kind in ("flux", "ivar", "mask")}
        arrays["mask"] |= (generator.random(arrays["mask"].shape) < 0.01).astype(np.int32)
        masked = arrays["mask"] != 0
        arrays["flux"][masked], arrays["ivar"][masked] = flux, ivar
        for kind, array in arrays.items():
            at = spectra.column_names.index(f"{kind}_{arm.name}")
            column = pa.FixedShapeTensorArray.from_numpy_ndarray(array)
            spectra = spectra.set_column(at, spectra.schema.field(at), column)
    return spectra


def test_what_the_network_sees_is_finite(
    batch_and_model: tuple[Batch, Model, tuple[torch.nn.Sequential, ...]],
) -> None:
    batch, model, networks = batch_and_model
    inputs = model.prepare(batch.spectra)
    assert np.isfinite(inputs.x_NP).all()
    assert not inputs.x_NP[~inputs.usable_N].any()
    draws = draw([thin(network, SAMPLING, CPU) for network in networks], inputs)
    assert draws.value_KNL.shape[:2] == (SAMPLING.draws, len(batch.spectra))
