"""AstroNN and AstroNNDist in the layout of SDSS Astra's files, with random weights.

The published weights are in no public repository. What the networks compute is written here a second time,
after sdss/astra (network.py of python/astra/pipelines/astronn and astronn_dist), in plain torch functions on
the file's own tensors; where it calls dropout, a function takes the mask.
"""

import os
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.draw import Network
from engine.draw.masks import Masks, keep_mask
from engine.errors import BundleError
from engine.estimate import estimate
from engine.models.astronn_pixels import element_pixels
from engine.models.bundle import load_card, load_weights
from engine.models.model import Model, load_model
from engine.spec import Sampling
from engine.surveys import SURVEYS
from engine.types import Draws
from jobs.__main__ import main
from jobs.importing import Tables, run_import

# torch remarks on what Astra's own convolutions do.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")

PIXELS, POOLED, DROPOUT, SEED = 7514, 1878, 0.3, 5
CPU = torch.device("cpu")
ELEMENTS = 19
COUNTS = (3806, 557, 3776, 505, 13, 106, 51, 102, 24, 8, 16, 19, 31, 28, 29, 46, 70, 24, 206)
WIDE = (0, 2)
State = dict[str, Tensor]
Drop = Callable[[Tensor], Tensor]


def state_of(model: str, seed: int = 0) -> State:
    """Random weights under Astra's names, in Astra's types."""
    torch.manual_seed(seed)
    labels, last = (22, 96) if model == "astronn" else (1, 64)
    state: State = {
        "input_mean": torch.rand(PIXELS, dtype=torch.float64) * 0.1 + 0.9,
        "labels_std": torch.rand(labels, dtype=torch.float64) + 0.5,
    }
    layers: dict[str, tuple[int, ...]] = {"conv1": (2, 1, 8), "conv2": (4, 2, 8)}
    layers |= {"dense_1": (192, 4 * POOLED), "dense_2": (last, 192)}
    if model == "astronn_dist":
        layers |= {"dense_output": (1, last), "dense_var": (1, last)}
    else:
        state["labels_mean"] = torch.randn(labels, dtype=torch.float64)
        layers |= {
            "dense_teffloggfeh": (3, last),
            "dense_teffloggfeh_var": (3, last),
            "dense_aux_fullspec": (2, last),
        }
        for i, (count, sees_P) in enumerate(zip(COUNTS, element_pixels().values(), strict=True)):
            state[f"aspcap_masks.{i}"] = torch.from_numpy(sees_P.copy())
            first, second = (256, 64) if i in WIDE else (32, 16)
            layers |= {f"elem_dense1.{i}": (first, count), f"elem_dense2.{i}": (second, first)}
            layers |= {f"elem_dense_out.{i}": (1, second + 5), f"elem_dense_var.{i}": (1, second + 5)}
    for name, shape in layers.items():
        state[f"{name}.weight"] = torch.randn(shape) * 1.5 / np.sqrt(np.prod(shape[1:]))
        state[f"{name}.bias"] = torch.randn(shape[0]) * 0.1
    return state


def astra(state: State, x_NP: Tensor, drops: Iterator[Drop]) -> tuple[Tensor, Tensor]:
    """Values and log-variances; `drops` are its dropouts: three of the trunk, then two of each element."""

    def layer(name: str, x: Tensor) -> Tensor:
        return functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def convolved(name: str, x: Tensor) -> Tensor:
        return functional.relu(
            functional.conv1d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding="same")
        )

    value = next(drops)(convolved("conv1", x_NP[:, None]))
    pooled = functional.max_pool1d(convolved("conv2", value), kernel_size=4).permute(0, 2, 1).flatten(1)
    hidden = functional.relu(layer("dense_1", next(drops)(pooled)))
    hidden = functional.relu(layer("dense_2", next(drops)(hidden)))
    if "dense_output.weight" in state:
        return functional.softplus(layer("dense_output", hidden)), layer("dense_var", hidden)
    three, three_var = layer("dense_teffloggfeh", hidden), layer("dense_teffloggfeh_var", hidden)
    shared = torch.concat([layer("dense_aux_fullspec", hidden), three], dim=1)
    values, variances = [], []
    for i in range(ELEMENTS):
        own = next(drops)(functional.relu(layer(f"elem_dense1.{i}", x_NP[:, state[f"aspcap_masks.{i}"]])))
        own = next(drops)(functional.relu(layer(f"elem_dense2.{i}", own)))
        both = torch.concat([own, shared], dim=1)
        values.append(layer(f"elem_dense_out.{i}", both))
        variances.append(layer(f"elem_dense_var.{i}", both))
    parts = ((three, values), (three_var, variances))
    # Iron stands before the last two elements.
    joined = [torch.concat([t[:, :2], *e[:-2], t[:, 2:], *e[-2:]], dim=1) for t, e in parts]
    return joined[0], joined[1]


def given_masks(draw: int, state: State) -> Iterator[Drop]:
    """The dropouts of one of our draws, as masks."""
    units = [2 * PIXELS, 4 * POOLED, len(state["dense_1.bias"])]
    if "elem_dense1.0.bias" in state:
        units += [len(state[f"elem_dense{n}.{i}.bias"]) for i in range(ELEMENTS) for n in (1, 2)]
    for layer, count in enumerate(units):
        keep = torch.from_numpy(keep_mask(SEED, draw, layer, count, DROPOUT)) / (1 - DROPOUT)
        # The filters of a pixel follow each other in our masks.
        mask = keep.reshape(PIXELS, 2).T if layer == 0 else keep
        yield lambda x, mask=mask: x * mask.to(x.dtype)


def random_masks() -> Iterator[Drop]:
    """What Astra's dropout does, which stays on outside training."""
    while True:
        yield lambda x: functional.dropout(x, DROPOUT, training=True)


Imported = tuple[State, Model, Network, Path]


@pytest.fixture(scope="module", params=["astronn", "astronn_dist"])
def imported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    state = state_of(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    return load(state, request.param, folder)


def load(state: State, model: str, folder: Path) -> Imported:
    """The state written to a file, imported and loaded."""
    path = folder / "weights.pt"
    torch.save({"model_state_dict": state, "epoch": 3}, path)
    out = folder / "bundle"
    run_import("astra", (path,), model=model, out=out, tables=Tables(), name="", licence="BSD-3-Clause")
    survey = SURVEYS["apogee"]
    sampling = Sampling(draws=1, seed=SEED, noise="astronn")
    loaded, [network] = load_model(out, keys=survey.keys, spectrograph=survey.spectrograph, sampling=sampling)
    return state, loaded, network, out


def spectra(state: State, rows: int = 4) -> tuple[Tensor, Tensor]:
    """Normalised flux, and what the network sees of it."""
    flux_NP = torch.from_numpy(np.random.default_rng(9).normal(0.95, 0.2, (rows, PIXELS)))
    return flux_NP, (flux_NP - state["input_mean"]).float()


def test_values_and_log_variances_are_those_of_astra(imported: Imported) -> None:
    state, model, network, _ = imported
    flux_NP, x_NP = spectra(state)
    seen_NP = model.input_scale.apply(flux_NP.numpy().astype(np.float32))
    np.testing.assert_allclose(seen_NP, x_NP, atol=1e-6)
    for draw in range(3):
        ours = network.thinned(Masks(seed=SEED, draw=draw, device=CPU))(network.once(x_NP))
        theirs = astra(state, x_NP, given_masks(draw, state))
        assert ours.log_variance_NL is not None
        for found, expected in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
            assert expected.std() > 1e-3


def test_labels_and_errors_agree_with_a_loop_of_random_dropout(imported: Imported) -> None:
    """Astra's rule for errors: sqrt(exp(mean s) + variance of the values), times the scale of the label."""
    state, model, network, _ = imported
    _, x_NP = spectra(state)
    draws = 300
    with torch.inference_mode():
        columns = network.once(x_NP)
        ours = [network.thinned(Masks(seed=SEED, draw=k, device=CPU))(columns) for k in range(draws)]
        torch.manual_seed(1)
        theirs = [astra(state, x_NP, random_masks()) for _ in range(draws)]
    value_KNL, s_KNL = (torch.stack(list(part)) for part in zip(*ours, strict=True))
    found = estimate(
        Draws(
            value_KNL=value_KNL.numpy(),
            log_variance_KNL=s_KNL.numpy(),
            hidden_NH=np.empty((4, 0), np.float32),
        ),
        np.ones(4, bool),
        np.ones(4, np.float32),
        model.labelling,
    )
    loop_KNL, loop_s_KNL = (torch.stack(list(part)).double() for part in zip(*theirs, strict=True))
    scale_L, centre_L = state["labels_std"], state.get("labels_mean", torch.zeros(1))
    model_NL = loop_KNL.std(dim=0) * scale_L
    noise_NL = torch.exp(loop_s_KNL.mean(dim=0)).sqrt() * scale_L
    spread_NL = model_NL.numpy() / np.sqrt(draws)
    difference_NL = np.abs(found.centre_NL - (loop_KNL.mean(dim=0) * scale_L + centre_L).numpy())
    assert (difference_NL < 5 * np.sqrt(2) * spread_NL).all()
    # A standard deviation over K numbers has a relative error of about 1 / sqrt(2 K); tails make it more.
    np.testing.assert_allclose(found.model_NL, model_NL, rtol=8 / np.sqrt(2 * draws))
    s_spread_NL = loop_s_KNL.std(dim=0).numpy() / np.sqrt(draws)
    assert found.noise_NL is not None
    assert (np.abs(2 * np.log(found.noise_NL / noise_NL.numpy())) < 5 * np.sqrt(2) * s_spread_NL).all()
    total_NL = np.hypot(found.model_NL, found.noise_NL)
    np.testing.assert_allclose(found.total_NL, total_NL, rtol=1e-6)


def test_the_rule_for_errors_is_astras_on_the_same_draws(imported: Imported) -> None:
    """But for the variance over K draws: Astra divides by K - 1, we by K."""
    state, model, network, _ = imported
    _, x_NP = spectra(state)
    with torch.inference_mode():
        theirs = [astra(state, x_NP, given_masks(k, state)) for k in range(5)]
        columns = network.once(x_NP)
        ours = [network.thinned(Masks(seed=SEED, draw=k, device=CPU))(columns) for k in range(5)]
    value_KNL, s_KNL = (torch.stack(list(part)).double() for part in zip(*theirs, strict=True))
    variance_NL = torch.exp(s_KNL.mean(dim=0)) + value_KNL.var(dim=0) * (4 / 5)
    expected_NL = variance_NL.sqrt() * state["labels_std"]
    value, log_variance = (torch.stack(list(part)).numpy() for part in zip(*ours, strict=True))
    hidden = np.empty((4, 0), np.float32)
    found = estimate(
        Draws(value_KNL=value, log_variance_KNL=log_variance, hidden_NH=hidden),
        np.ones(4, bool),
        np.ones(4, np.float32),
        model.labelling,
    )
    np.testing.assert_allclose(found.total_NL, expected_NL, rtol=1e-4)


def test_the_card_says_what_is_known_and_no_more(imported: Imported) -> None:
    state, _, _, out = imported
    card = load_card(out)
    arrays = load_weights(out, card)
    assert (card.sampling, card.members, card.licence) == (None, 1, "BSD-3-Clause")
    assert all((label.low, label.high, label.calibration) == (None, None, None) for label in card.labels)
    assert card.lineage["imported"][0]["name"] == "weights.pt"
    assert card.hyper["hidden"] == [192, len(state["dense_2.bias"])]
    np.testing.assert_array_equal(arrays["input.scale"], 1)
    np.testing.assert_allclose(arrays["label.scale"], state["labels_std"], rtol=1e-6)
    np.testing.assert_allclose(arrays["label.centre"], state.get("labels_mean", torch.zeros(1)), rtol=1e-6)
    parameters = {"astronn": 3_505_554, "astronn_dist": 1_455_064}[card.architecture]
    sizes = [
        a.size for name, a in arrays.items() if name.startswith("network.") and not name.endswith("sees_EP")
    ]
    assert sum(sizes) == parameters


def test_masks_of_the_file_are_used_where_they_differ(tmp_path: Path) -> None:
    state = state_of("astronn")
    state["aspcap_masks.4"] = torch.roll(state["aspcap_masks.4"], 7)
    _, _, network, _ = load(state, "astronn", tmp_path)
    _, x_NP = spectra(state)
    ours = network.thinned(Masks(seed=SEED, draw=0, device=CPU))(network.once(x_NP))
    value_NL, _ = astra(state, x_NP, given_masks(0, state))
    np.testing.assert_allclose(ours.value_NL, value_NL, rtol=0, atol=1e-5)


def test_other_widths_of_the_trunk_are_taken_from_the_file(tmp_path: Path) -> None:
    state = state_of("astronn_dist")
    for name, shape in (("dense_1", (164, 7512)), ("dense_2", (62, 164)), ("dense_output", (1, 62))):
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.randn(shape), torch.randn(shape[0])
    state["dense_var.weight"] = torch.randn(1, 62)
    *_, out = load(state, "astronn_dist", tmp_path)
    assert load_card(out).hyper["hidden"] == [164, 62]


class Evil:
    """What a pickle can be: code that runs when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_code_in_a_file_is_refused_and_does_not_run(tmp_path: Path, zipped: bool, inside: bool) -> None:
    trace = tmp_path / "ran"
    content = {
        "model_state_dict": state_of("astronn_dist") | ({"conv1.weight": Evil(trace)} if inside else {})
    }
    path = tmp_path / "evil.pt"
    torch.save(
        content if inside else content | {"extra": Evil(trace)}, path, _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(BundleError, match=r"nothing of it was run: it holds posix\.system") as caught:
        run_import(
            "astra", (path,), model="astronn_dist", out=tmp_path / "b", tables=Tables(), name="", licence=""
        )
    assert str(path) in str(caught.value)
    assert not trace.exists()
    assert not (tmp_path / "b").exists()


def without(state: State, name: str) -> State:
    return {key: value for key, value in state.items() if key != name}


def more_pixels(state: State) -> State:
    mask_P = state["aspcap_masks.3"].clone()
    mask_P[torch.nonzero(~mask_P)[0]] = True
    return state | {"aspcap_masks.3": mask_P}


WRONG: tuple[tuple[Callable[[State], object], str], ...] = (
    (lambda s: without(s, "dense_2.weight"), "dense_2.weight is missing, expected shape (96, 192)"),
    (lambda s: without(s, "dense_1.bias"), "dense_1.bias is missing"),
    (lambda s: without(s, "aspcap_masks.18"), "aspcap_masks.18 is missing, expected shape (7514,)"),
    (
        lambda s: s | {"conv1.weight": torch.zeros(2, 1, 9)},
        "conv1.weight has shape (2, 1, 9), expected (2, 1, 8)",
    ),
    (lambda s: s | {"elem_dense_out.0.weight": torch.zeros(1, 21)}, "expected (1, 69)"),
    (lambda s: s | {"conv1.weight": torch.full((2, 1, 8), torch.nan)}, "16 of 16 values that are not finite"),
    (lambda s: s | {"conv1.weight": torch.zeros(2, 1, 8, dtype=torch.int64)}, "conv1.weight is torch.int64"),
    (lambda s: s | {"conv1.weight": torch.zeros(1).expand(2, 1, 8)}, "conv1.weight in its model_state_dict"),
    (lambda s: s | {"conv1.weight": torch.zeros(2, 1, 8).to_sparse()}, "is no array of numbers"),
    (lambda s: s | {"conv1.weight": [1.0]}, "is no array of numbers"),
    (lambda s: s | {"labels_std": torch.zeros(22)}, "labels_std must be above 0"),
    (
        lambda s: s | {"aspcap_masks.0": torch.zeros(7514)},
        "aspcap_masks.0 is torch.float32, expected booleans",
    ),
    (more_pixels, "aspcap_masks.3 (o) lets 506 pixels through, expected 505"),
    (lambda s: s | {"elem_dense1.19.weight": torch.zeros(3)}, "elem_dense1.19.weight is unknown to astronn"),
    (lambda _: state_of("astronn_dist"), "it is another network"),
    (lambda _: [], "holds no model_state_dict"),
)


@pytest.mark.parametrize(("change", "told"), WRONG, ids=[told[:40] for _, told in WRONG])
def test_another_network_is_refused_by_its_tensor(
    change: Callable[[State], object], told: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.pt"
    torch.save({"model_state_dict": change(state_of("astronn"))}, path)
    with pytest.raises(BundleError, match=re.escape(told)) as caught:
        run_import(
            "astra", (path,), model="astronn", out=tmp_path / "b", tables=Tables(), name="", licence=""
        )
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("how", ["truncated", "empty", "text", "zip", "tensor", "missing"])
def test_files_that_are_no_state_dicts_are_refused(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.pt"
    torch.save({"model_state_dict": state_of("astronn_dist")}, path)
    match how:
        case "truncated":
            path.write_bytes(path.read_bytes()[:4_000_000])
        case "empty" | "text":
            path.write_text(how.removeprefix("empty"))
        case "zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("a", "b")
        case "tensor":
            torch.save(torch.zeros(3), path)
        case "missing":
            path.unlink()
    words = ["import", "astra", path, "--model", "astronn_dist", "--out", tmp_path / "b"]
    monkeypatch.setattr("sys.argv", ["abundant", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert (ended.value.code, str(path) in said, "Traceback" in said) == (2, True, False)
    assert not (tmp_path / "b").exists()
