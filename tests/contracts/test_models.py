"""What every registered model must keep, on every survey that can feed it."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import pyarrow as pa
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from engine.draw import Card, Host, Network, Output, bank_of, draw, grouped, keep_mask
from engine.draw.bank import Computed
from engine.draw.card import cuda_graph
from engine.errors import PlanError
from engine.flags import BY_NAME
from engine.models import MODELS, astronn_trunk
from engine.models.architecture import Architecture, handshake
from engine.models.model import Model, load_model
from engine.prepare.gather import tensor
from engine.route import infer
from engine.runtime.device import exact_arithmetic
from engine.simulate.surveys.table import TABLE_COLUMNS
from engine.spec import Sampling, SurveySpec
from engine.support import ABOVE, BELOW
from engine.surveys import SURVEYS, survey_of
from engine.surveys.survey import Survey
from engine.types import Batch, Task
from tests.beside import COEFFICIENTS, with_beside, with_one
from tests.bundles import HIGHEST, LOWEST, write_bundle
from tests.inputs import inputs_of

CPU = torch.device("cpu")
MOST_ROWS = 40


# A survey whose columns only the spec knows stands for itself by the table that is simulated.
RECORDS = {
    name: survey.configure(SurveySpec.model_validate({"name": name, "root": ".", "table": TABLE_COLUMNS}))
    if survey.configure
    else survey
    for name, survey in SURVEYS.items()
}


def feeds(survey: Survey, architecture: Architecture) -> bool:
    try:
        handshake(architecture, survey.name, survey.spectrograph, architecture.needs)
    except PlanError:
        return False
    return True


PAIRS = [(m, s) for m in MODELS for s in SURVEYS if feeds(RECORDS[s], MODELS[m])]
PAIRS_WITH_EXTRAS = [(m, s) for m, s in PAIRS if MODELS[m].extras]


def test_every_model_can_be_fed_by_a_survey_and_every_survey_feeds_one() -> None:
    assert {model for model, _ in PAIRS} == set(MODELS)
    assert {survey for _, survey in PAIRS} == set(SURVEYS)


# The architecture alone.


@pytest.fixture(autouse=True, scope="module")
def as_in_a_worker() -> None:
    """Arithmetic on one thread: sums are taken in another order on several."""
    torch.set_num_threads(1)
    threadpool_limits(1)


@pytest.fixture(params=MODELS)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    return MODELS[request.param]


@pytest.fixture
def network(architecture: Architecture) -> Network:
    torch.manual_seed(4)
    network = architecture.build(architecture.hyper, architecture.inputs, len(architecture.labels) or 3)
    return network.eval().requires_grad_(False)


def some(architecture: Architecture, rows: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(6).normal(size=(rows, architecture.inputs))).float()


class Masked(nn.Module):
    """The textbook's dropout: multiply by the mask, divide by 1 - p; the layer is how often one was asked."""

    def __init__(self, dropout: float, sampling: Sampling, k: int, layers: "count[int]") -> None:
        super().__init__()
        self.dropout, self.sampling, self.k, self.layers = dropout, sampling, k, layers

    def forward(self, value: Tensor) -> Tensor:
        units = value[0].numel()
        keep = keep_mask(self.sampling.seed, self.k, next(self.layers), units, self.dropout)
        # (N, filters, pixels) count pixel by pixel, the filters of each one after another.
        shape = value.shape[:0:-1]
        factor = torch.from_numpy(keep).float().reshape(shape).permute(*reversed(range(len(shape))))
        return value * factor / (1 - self.dropout)


def masked(network: Network, sampling: Sampling, k: int) -> Network:
    """The network with draw k's masks in the place of its dropouts."""
    network, layers = deepcopy(network), count()
    found = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Dropout)]
    for name, module in found:
        above, _, attribute = name.rpartition(".")
        setattr(network.get_submodule(above), attribute, Masked(module.p, sampling, k, layers))
    return network


def test_it_is_registered_under_its_name_with_its_source(architecture: Architecture) -> None:
    assert MODELS[architecture.name] is architecture
    assert re.fullmatch(r"[a-z][a-z0-9_]*", architecture.name)
    assert architecture.title
    assert architecture.reference


def test_its_draws_are_dropout_by_the_same_masks(architecture: Architecture, network: Network) -> None:
    sampling, x_NI = Sampling(draws=3, seed=7), some(architecture, 6)
    found = draw([bank_of(network, sampling, CPU)], inputs_of(x_NI.numpy(), x_NI.numpy()))
    expected = [masked(network, sampling, k)(x_NI) for k in range(3)]
    values = torch.stack([output.value_NL for output in expected])
    np.testing.assert_allclose(found.value_KNL, values, rtol=1e-4, atol=2e-5)
    assert found.value_KNL.std(axis=0).min() > 1e-4
    if found.log_variance_KNL is not None:
        variances = torch.stack([output.log_variance_NL for output in expected])
        np.testing.assert_allclose(found.log_variance_KNL, variances, rtol=1e-4, atol=2e-5)


def test_members_alone_are_the_networks_as_they_were_trained(
    architecture: Architecture, network: Network
) -> None:
    x_NI = some(architecture, 16)
    expected: Output = network(x_NI)
    # It does not matter that training left it with its dropouts on.
    bank = bank_of(network.train(), Sampling(draws=0), CPU)
    found = draw([bank], inputs_of(x_NI.numpy(), x_NI.numpy()))
    np.testing.assert_array_equal(found.value_KNL, expected.value_NL[None])
    assert expected.value_NL.shape == (16, len(architecture.labels) or 3)
    if found.log_variance_KNL is not None:
        np.testing.assert_array_equal(found.log_variance_KNL, expected.log_variance_NL[None])


@pytest.mark.parametrize("draws", [0, 2])
def test_a_stars_outputs_do_not_depend_on_its_place_in_the_batch(
    architecture: Architecture, network: Network, draws: int
) -> None:
    bank, x_NI = bank_of(network, Sampling(draws=draws), CPU), some(architecture, 37).numpy()
    order = np.random.default_rng(2).permutation(37)
    straight, mixed = (draw([bank], inputs_of(x, x)) for x in (x_NI, x_NI[order]))
    np.testing.assert_array_equal(mixed.value_KNL, straight.value_KNL[:, order])
    np.testing.assert_array_equal(mixed.hidden_NH, straight.hidden_NH[order])
    if straight.log_variance_KNL is not None:
        np.testing.assert_array_equal(mixed.log_variance_KNL, straight.log_variance_KNL[:, order])


class Again:
    """What a CUDA graph does: the same work on the same tensors, its results where they were."""

    def __init__(self, work: Callable[[], Computed], _stream: object) -> None:
        self.work, self.found = work, work()

    def __call__(self) -> Computed:
        for place, part in zip(self.found, self.work(), strict=True):
            if part is not None:
                place.copy_(part)
        return self.found


# A real card, where there is one, and its graphs.
CUDA = torch.device("cuda")
CARDS = [pytest.param(CPU, None, id="launched"), pytest.param(CPU, Again, id="captured")]
if torch.cuda.is_available():
    CARDS += [pytest.param(CUDA, None, id="cuda"), pytest.param(CUDA, cuda_graph, id="graphed")]


@pytest.mark.parametrize(("device", "capture"), CARDS)
@pytest.mark.parametrize("draws", [0, 3])
def test_a_card_draws_what_the_host_does_whatever_batches_come(
    architecture: Architecture,
    network: Network,
    draws: int,
    device: torch.device,
    capture: Callable[[Callable[[], Computed], object], Callable[[], Computed]] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (grouped, astronn_trunk):
        monkeypatch.setattr(module, "DRAWS_TOGETHER", 2)
    if device == CUDA:
        exact_arithmetic()
    sampling, x_NI = Sampling(draws=draws), some(architecture, 40).numpy()
    expected = draw([bank_of(network, sampling, CPU)], inputs_of(x_NI, x_NI))
    banks = [bank_of(network, sampling, device, grouped=True)]
    card = Card(banks, rows=32, inputs=architecture.inputs, capture=capture)
    with ThreadPoolExecutor(3) as threads:
        parts = [slice(0, 32), slice(32, 39), slice(39, 40), slice(3, 3), slice(0, 40, 2)]
        found = list(threads.map(lambda part: card(inputs_of(x_NI[part], x_NI[part])), parts))
    for part, some_draws in zip(parts, found, strict=True):
        of = {"rtol": 1e-4, "atol": 2e-5}
        np.testing.assert_allclose(some_draws.value_KNL, expected.value_KNL[:, part], **of)
        np.testing.assert_allclose(some_draws.hidden_NH, expected.hidden_NH[part], **of)
        if expected.log_variance_KNL is not None:
            variance_KNL = expected.log_variance_KNL[:, part]
            np.testing.assert_allclose(some_draws.log_variance_KNL, variance_KNL, **of)


def test_it_predicts_variances_if_its_loss_asks_for_them(
    architecture: Architecture, network: Network
) -> None:
    bank, x_NI = bank_of(network, Sampling(draws=1), CPU), some(architecture, 2)
    for value, log_variance in (network(x_NI), bank.draws(bank.once(x_NI))):
        assert (log_variance is not None) == (architecture.loss == "robust")
        assert log_variance is None or log_variance.shape == value.shape


def test_its_last_hidden_layer_is_a_row_per_star(architecture: Architecture, network: Network) -> None:
    x_NI = some(architecture, 5)
    hidden_NH = bank_of(network, Sampling(draws=1), CPU).hidden(x_NI)
    assert hidden_NH.ndim == 2
    assert len(hidden_NH) == 5
    assert hidden_NH.shape[1] > 1
    assert torch.isfinite(hidden_NH).all()
    assert hidden_NH.std(dim=0).max() > 0


# The model of a bundle, on spectra of a simulated survey.


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Some rows of a survey with what the model needs beside, and a random bundle of it."""

    batch: Batch
    model: Model
    draw: Host

    def labelled(self, spectra: pa.Table | None = None) -> pa.Table:
        """Catalog rows of the batch, or of other spectra in its place."""
        batch = self.batch if spectra is None else replace(self.batch, spectra=spectra)
        return infer(batch, self.model, self.draw)

    def labels(self, rows: pa.Table) -> np.ndarray:
        """NaN where there is none, shape (N, L)."""
        columns = [rows[label.name].fill_null(np.nan).to_numpy() for label in self.model.labels]
        return np.stack(columns, axis=1)

    def usable(self) -> int:
        """The first row with a result."""
        return int(self.model.prepare(self.batch.spectra).usable_N.argmax())


@pytest.fixture(params=PAIRS, ids="-".join, scope="module")
def case(
    request: pytest.FixtureRequest,
    simulated: Callable[[str], SurveySpec],
    tmp_path_factory: pytest.TempPathFactory,
) -> Case:
    name, survey_name = request.param
    spec, sampling = simulated(survey_name), default_sampling(MODELS[name])
    survey = survey_of(spec)
    shard = max(survey.list_shards(spec), key=lambda shard: shard.rows)
    task = Task(task_id="some", shard=shard, start=0, stop=min(MOST_ROWS, shard.rows))
    bundle = write_bundle(tmp_path_factory.mktemp("b") / name, sampling=sampling, architecture=name)
    model, networks = load_model(
        bundle, keys=survey.keys, spectrograph=survey.spectrograph, sampling=sampling
    )
    beside = (*model.architecture.needs, *model.architecture.wishes)
    batch = Batch(task=task, spectra=with_beside(survey.read(spec, task), beside))
    return Case(batch=batch, model=model, draw=Host([bank_of(n, sampling, CPU) for n in networks]))


def default_sampling(architecture: Architecture) -> Sampling:
    """The architecture's own, with few draws."""
    return architecture.sampling.model_copy(update={"draws": min(architecture.sampling.draws, 3)})


with_extras = pytest.mark.parametrize("case", PAIRS_WITH_EXTRAS, indirect=True, ids="-".join)


def test_the_same_rows_in_the_same_order_with_the_declared_columns(case: Case) -> None:
    rows, spectra = case.labelled(), case.batch.spectra
    assert rows.column_names == [column.name for column in case.model.columns]
    assert rows["row_in_shard"].to_pylist() == spectra["row_in_shard"].to_pylist()
    assert rows["ra"].to_pylist() == spectra["ra"].to_pylist()
    usable_N = case.model.prepare(spectra).usable_N
    assert usable_N.mean() > 0.5
    assert (np.isfinite(case.labels(rows)) == usable_N[:, None]).all()


def test_a_task_that_could_not_be_read_has_the_same_columns_without_numbers(case: Case) -> None:
    arrays = [f.name for f in case.batch.spectra.schema if isinstance(f.type, pa.FixedShapeTensorType)]
    batch = replace(case.batch, spectra=case.batch.spectra.drop_columns(arrays), failure="gone")
    rows = infer(batch, case.model, case.draw)
    assert rows.schema == case.labelled().schema
    assert np.isnan(case.labels(rows)).all()


def test_permuting_rows_permutes_labels(case: Case) -> None:
    order = np.random.default_rng(0).permutation(len(case.batch.spectra))
    mixed = case.labelled(case.batch.spectra.take(pa.array(order)))
    np.testing.assert_array_equal(case.labels(mixed), case.labels(case.labelled())[order])


def test_a_label_does_not_depend_on_how_many_stars_are_labelled_with_it(case: Case) -> None:
    assert case.labelled(case.batch.spectra.slice(2, 7)).equals(case.labelled().slice(2, 7))


def test_a_masked_pixel_cannot_change_a_label(case: Case) -> None:
    spoilt = (spoil(case.batch.spectra, case.model, *garbage) for garbage in ((-1e5, 7.0), (3e4, 0.2)))
    one, other = (case.labelled(spectra) for spectra in spoilt)
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


def test_what_the_network_sees_is_finite(case: Case) -> None:
    inputs = case.model.prepare(case.batch.spectra)
    assert inputs.x_NI.shape == (len(case.batch.spectra), case.model.architecture.inputs)
    assert inputs.x_NI.dtype == np.float32
    assert np.isfinite(inputs.x_NI).all()
    assert not inputs.x_NI[~inputs.usable_N].any()


@with_extras
def test_a_star_without_a_number_beside_has_no_result_and_its_neighbours_have_theirs(case: Case) -> None:
    whole, row = case.labelled(), case.usable()
    bits = BY_NAME["NO_RESULT"].value | BY_NAME["INPUT_MISSING"].value
    for name in case.model.architecture.needs:
        rows = case.labelled(with_one(case.batch.spectra, name, row, None))
        assert rows["flags"][row].as_py() & bits == bits
        assert np.isnan(case.labels(rows)[row]).all()
        assert without(rows, row).equals(without(whole, row))


@with_extras
@pytest.mark.parametrize("absurd", [1e30, -1e30, float("inf"), -999.0])
def test_an_absurd_number_beside_is_flagged_and_harms_no_other_star(case: Case, absurd: float) -> None:
    whole, row = case.labelled(), case.usable()
    bits = sum(BY_NAME[n].value for n in ("NO_RESULT", "INPUT_OUTSIDE_TRAINING", "PARALLAX_SATURATED"))
    for name in case.model.architecture.needs:
        if name not in COEFFICIENTS:
            rows = case.labelled(with_one(case.batch.spectra, name, row, absurd))
            assert rows["flags"][row].as_py() & bits
            assert without(rows, row).equals(without(whole, row))


@with_extras
@pytest.mark.parametrize(("number", "side"), [(2 * LOWEST, BELOW), (2 * HIGHEST, ABOVE)])
def test_a_number_beside_that_is_out_of_range_is_flagged_by_its_side(
    case: Case, number: float, side: int
) -> None:
    row, bit = case.usable(), BY_NAME["INPUT_OUTSIDE_TRAINING"].value
    assert not np.any(case.labelled()["flags"].to_numpy() & bit)
    for extra in case.model.architecture.extras:
        if extra.limited:
            name = extra.name.removeprefix("absolute_")
            rows = case.labelled(with_one(case.batch.spectra, name, row, number))
            expected = np.where(np.arange(len(rows)) == row, side, 0)
            np.testing.assert_array_equal(rows[f"flag_{extra.name}"].to_numpy(), expected)
            assert rows["flags"][row].as_py() & bit


def without(rows: pa.Table, row: int) -> pa.Table:
    return pa.concat_tables([rows.slice(0, row), rows.slice(row + 1)]).combine_chunks()
