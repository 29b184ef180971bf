"""`abundant bundle`: cards for people, checks of a bundle, and networks for other programs."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from engine.errors import BundleError, InputError, RunError
from engine.models import MODELS
from engine.models.bundle import load_card, save_bundle
from engine.models.export import Exported
from engine.prepare.scale import Affine
from jobs.bundle import export_bundle, show_bundle, verify_bundle
from jobs.card_page import card_page
from tests.bundles import write_bundle
from tests.conftest import SAMPLING

KINDS = ("desi_mlp_4", "rave_cnn_2020", "rvs_hybrid", "lithium_cnn", "astronn", "astronn_dist")
HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


@pytest.fixture(params=KINDS)
def random_bundle(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    members = 2 if request.param == "rave_cnn_2020" else 1
    return write_bundle(tmp_path / "b", sampling=SAMPLING, architecture=request.param, members=members)


def test_a_sound_bundle_is_verified_and_shown(random_bundle: Path) -> None:
    said = verify_bundle(random_bundle)
    card = load_card(random_bundle)
    assert said.startswith(f"OK: random, {'2 networks' if card.members == 2 else 'one network'} of ")
    page = show_bundle(random_bundle)
    for label in card.labels:
        assert f"| {label.name} | " in page
    for words in (card.weights_sha256, card.licence, card.architecture, "## Calibration", "6 draws, seed 3"):
        assert words in page


def test_an_uncalibrated_bundle_says_so(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b", sampling=None)
    assert "uncalibrated errors" in verify_bundle(folder)
    page = show_bundle(folder)
    assert "- sampling: uncalibrated" in page
    assert "Errors are as they are drawn" in page


def test_limits_and_thresholds_are_on_the_page(tmp_path: Path) -> None:
    folder = write_bundle(
        tmp_path / "b", sampling=SAMPLING, architecture="rave_cnn_2020", support_threshold=2.5
    )
    page = show_bundle(folder)
    assert "| support_chi2 | 2.5 |" in page
    assert "## Training range of other inputs" in page and "| -30 | 30 |" in page


def test_test_stars_are_on_the_page(bundle: Path) -> None:
    card = load_card(bundle)
    numbers = {"test_bias": -1.25, "test_scatter": 80.0, "test_coverage_raw": 0.31, "test_coverage": 0.69}
    labels = (card.labels[0].model_copy(update=numbers), *card.labels[1:])
    page = card_page(card.model_copy(update={"labels": labels}), "f00")
    assert "| teff | -1.25 | 80 | 31.0 % | 69.0 % | – |" in page


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([{"epoch": 27}], "χ² per label of the test stars: 1.035, with the weights of epoch 27, without"),
        ([{"epoch": 27}, {"epoch": 3}], "test stars: 1.035, the mean over the members that were kept"),
        ("odd", "test stars: 1.035, the mean over the members"),
    ],
)
def test_chi_square_of_test_stars_is_on_the_page(bundle: Path, members: object, words: str) -> None:
    card = load_card(bundle)
    labels = (card.labels[0].model_copy(update={"test_scatter": 80.0}), *card.labels[1:])
    lineage = {"test_chi2": 1.0354, "members": members}
    page = card_page(card.model_copy(update={"labels": labels, "lineage": lineage}), "f00")
    assert words in page
    without = card_page(card.model_copy(update={"labels": labels, "lineage": {"test_chi2": "x"}}), "f00")
    assert "χ² per label" not in without


def test_a_card_from_anybody_is_text(bundle: Path) -> None:
    card = load_card(bundle)
    update = {"name": "a|b<i>\x1b[31m[x](http://y)", "lineage": {"note": "\x1b[2J\u202eevil"}}
    page = card_page(card.model_copy(update=update), "f00")
    assert page.splitlines()[0] == "# a\\|b\\<i> [31m[x]\\(http://y)"
    assert "\x1b" not in page and "\u202e" not in page


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])


def edit_card(folder: Path) -> None:
    card = folder / "card.toml"
    card.write_text(card.read_text().replace("CC0-1.0", "MIT"))


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def garbled_card(folder: Path) -> None:
    (folder / "card.toml").write_text("format = ")


def no_card(folder: Path) -> None:
    (folder / "card.toml").unlink()


@pytest.mark.parametrize("damage", [cut_weights, edit_card, no_weights, garbled_card, no_card])
def test_a_damaged_bundle_is_a_failed_check(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    folder = write_bundle(tmp_path / "b", sampling=SAMPLING)
    damage(folder)
    with pytest.raises(RunError):
        verify_bundle(folder)
    with pytest.raises(InputError):
        export_bundle(folder, "torchscript", tmp_path / "x.pt")
    assert not list(tmp_path.glob("*x.pt*"))


def rewritten(folder: Path, new: Path, **arrays: np.ndarray) -> Path:
    """The same bundle with other arrays, sealed anew."""
    found = load_file(folder / "model.safetensors") | arrays
    save_bundle(new, load_card(folder), found)
    return new


def test_networks_that_overflow_are_found(tmp_path: Path) -> None:
    """Weights that are finite, as the hashes say, but whose products are not."""
    folder = write_bundle(tmp_path / "b", sampling=SAMPLING)
    found = load_file(folder / "model.safetensors")
    first = [name for name in found if name.startswith("network.0.") and name.endswith("weight")][:2]
    huge = {name: np.full_like(found[name], 3e38) for name in first}
    with pytest.raises(RunError, match="answers noise with NaN"):
        verify_bundle(rewritten(folder, tmp_path / "huge", **huge))


def test_no_bundle_is_a_wrong_input(tmp_path: Path) -> None:
    for look in (show_bundle, verify_bundle):
        with pytest.raises(BundleError, match="is no bundle"):
            look(tmp_path / "none")


def test_exported_torchscript_gives_our_labels(random_bundle: Path, tmp_path: Path) -> None:
    """What is read back, on inputs with NaN, against scaling and network by hand."""
    file = tmp_path / "networks.pt"
    export_bundle(random_bundle, "torchscript", file)
    card = load_card(random_bundle)
    model = MODELS[card.architecture]
    extra = {"labels": "", "weights_sha256": "", "errors": ""}
    read = torch.jit.load(str(file), _extra_files=extra)
    assert extra["weights_sha256"].decode() == card.weights_sha256  # type: ignore[attr-defined]
    rng = np.random.default_rng(4)
    x_NI = (1 + 0.2 * rng.normal(size=(7, model.inputs))).astype(np.float32)
    x_NI[:, 5] = np.nan
    given = read(torch.from_numpy(x_NI))
    labels = given[0] if isinstance(given, tuple) else given
    assert labels.shape == (card.members, 7, card.outputs)
    arrays = load_file(random_bundle / "model.safetensors")
    inputs = Affine(centre=arrays["input.centre"], scale=arrays["input.scale"])
    scale = Affine(centre=arrays["label.centre"], scale=arrays["label.scale"])
    filled = np.where(np.isnan(x_NI), inputs.centre if model.input.missing == "centre" else 1, x_NI)
    for member in range(card.members):
        network = model.build(type(model.hyper).model_validate(card.hyper), model.inputs, card.outputs).eval()
        names = network.state_dict()
        network.load_state_dict({x: torch.from_numpy(arrays[f"network.{member}.{x}"]) for x in names})
        with torch.inference_mode():
            scaled = torch.from_numpy(inputs.apply(filled).astype(np.float32))
            ours = scale.invert(network(scaled).value_NL.numpy())
        np.testing.assert_allclose(
            labels[member].numpy() / scale.scale, ours / scale.scale, atol=1e-5, rtol=1e-5
        )
    assert isinstance(given, tuple) == (card.architecture in ("astronn", "astronn_dist"))


def test_an_export_knows_unused_inputs_and_missing_extras(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b", sampling=SAMPLING, architecture="rave_cnn_2020")
    model = MODELS["rave_cnn_2020"]
    network = model.build(model.hyper, model.inputs, len(model.labels)).eval()
    arrays = load_file(folder / "model.safetensors")
    scale = arrays["input.scale"].copy()
    scale[3] = np.inf
    inputs = Affine(centre=arrays["input.centre"], scale=scale)
    labels = Affine(centre=arrays["label.centre"], scale=arrays["label.scale"])
    module = Exported([network], model, inputs, labels)
    x_NI = torch.ones((2, model.inputs))
    x_NI[1, 3] = 77.0
    with torch.inference_mode():
        found = module(x_NI)
        assert isinstance(found, torch.Tensor)
        assert torch.equal(found[:, 0], found[:, 1])
        x_NI[1, -1] = torch.nan
        lacking = module(x_NI)
    assert isinstance(lacking, torch.Tensor)
    assert torch.isfinite(lacking[:, 0]).all() and torch.isnan(lacking[:, 1]).all()


@pytest.mark.skipif(not HAS_ONNX, reason="onnx, onnxscript and onnxruntime are not installed")
def test_exported_onnx_agrees(
    random_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_bundle(random_bundle, "onnx", tmp_path / "networks.onnx")
    assert "agrees within 1e-05" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.skipif(HAS_ONNX, reason="onnx is installed")
def test_onnx_says_what_it_needs(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pip install onnx"):
        export_bundle(bundle, "onnx", tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_exports_that_cannot_be_made_are_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "there.pt").write_text("mine")
    for kind, file, why in (
        ("torchscript", "there.pt", "exists; choose another FILE"),
        ("torchscript", "none/x.pt", "there is no folder"),
        ("keras", "x.h5", "known: onnx, torchscript"),
    ):
        with pytest.raises(InputError, match=why):
            export_bundle(bundle, kind, tmp_path / file)
    assert (tmp_path / "there.pt").read_text() == "mine"


def test_a_network_that_cannot_be_exported_is_a_clear_message(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("Tracer cannot say this\nand more")

    monkeypatch.setattr("torch.jit.trace", refuse)
    with pytest.raises(InputError, match=r"cannot be written as torchscript: Tracer cannot say this$"):
        export_bundle(bundle, "torchscript", tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


def test_an_export_that_differs_is_not_kept(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other:
        def __call__(self, x_NI: torch.Tensor) -> torch.Tensor:
            return torch.zeros((1, len(x_NI), 4))

    monkeypatch.setattr("torch.jit.load", lambda _: Other())
    with pytest.raises(BundleError, match="differs from the networks by"):
        export_bundle(bundle, "torchscript", tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())
