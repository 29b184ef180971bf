"""A bundle is what it was when it was written, or it is refused by name."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tomli_w

from engine.errors import BundleError
from engine.models import bundle as bundles
from engine.models.bundle import CARD, WEIGHTS, load_card, save_bundle
from engine.models.card import LimitsCard
from engine.models.model import load_model
from engine.surveys import SURVEYS
from tests.bundles import write_bundle
from tests.conftest import SAMPLING

Arrays = dict[str, np.ndarray]
PIXELS = 7781


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "b"
    return write_bundle(folder, sampling=SAMPLING, support_threshold=2.0, members=2)


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "copy")


def read(folder: Path) -> None:
    desi = SURVEYS["desi"]
    load_model(folder, keys=desi.keys, spectrograph=desi.spectrograph, sampling=SAMPLING)


def replaced(folder: Path, old: str, new: str) -> None:
    text = (folder / CARD).read_text()
    assert re.search(old, text, re.DOTALL)
    (folder / CARD).write_text(re.sub(old, new, text, count=1, flags=re.DOTALL))


def rewritten(whole: Path, folder: Path, change: Callable[[Arrays], Arrays]) -> Path:
    """A bundle whose two files agree, with other arrays."""
    arrays = safetensors.numpy.load_file(whole / WEIGHTS)
    save_bundle(folder, load_card(whole), change(arrays))
    return folder


def test_a_bundle_comes_back_as_it_was_written(copy: Path) -> None:
    read(copy)
    assert sorted(path.name for path in copy.iterdir()) == [CARD, WEIGHTS]
    # The layout of the text is not the content.
    (copy / CARD).write_text("# a remark\n" + (copy / CARD).read_text())
    read(copy)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("low = 4960.0", "low = 4000.0"),
        (r"snr = \[\s*1\.0", "snr = [10.0"),
        (r"scale = \[\s*2\.0", "scale = [1.0"),
        (r"floor = \[\s*40\.0", "floor = [4.0"),
        ('name = "fe_h"(.*)name = "mg_h"', r'name = "mg_h"\1name = "fe_h"'),
        ('activation = "relu"', 'activation = "gelu"'),
        ("dropout = 0.1", "dropout = 0.2"),
        ("support_chi2 = 2.0\n", ""),
        ("support_chi2 = 2.0", "support_chi2 = 3.0"),
        ("members = 2", "members = 1"),
        ("seed = 3", "seed = 4"),
        ('noise = "exact"', 'noise = "astronn"'),
        ('weights = "random"', 'weights = "fitted"'),
    ],
)
def test_an_altered_card_is_refused(copy: Path, old: str, new: str) -> None:
    replaced(copy, old, new)
    with pytest.raises(BundleError, match=r"card\.toml(?s:.*Copy the bundle again)"):
        read(copy)


def test_altered_or_shortened_weights_and_those_of_another_bundle_are_refused(
    copy: Path, tmp_path: Path
) -> None:
    content = (copy / WEIGHTS).read_bytes()
    other = write_bundle(tmp_path / "other", sampling=SAMPLING, seed=5, support_threshold=2.0)
    for wrong in (content[:-7], b"", content[:-1] + b"\0", (other / WEIGHTS).read_bytes()):
        (copy / WEIGHTS).write_bytes(wrong)
        with pytest.raises(BundleError, match=r"model\.safetensors: sha256 is .* the weights were altered"):
            read(copy)
    (copy / WEIGHTS).unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        read(copy)


def test_weights_that_do_not_name_their_card_or_are_no_safetensors_are_refused(copy: Path) -> None:
    bare = safetensors.numpy.save(safetensors.numpy.load_file(copy / WEIGHTS))
    for content, message in ((bare, "says None"), (b"garbage", "not a safetensors file")):
        (copy / WEIGHTS).write_bytes(content)
        digest = bundles.hashlib.sha256(content).hexdigest()
        replaced(copy, 'weights_sha256 = "[0-9a-f]*"', f'weights_sha256 = "{digest}"')
        with pytest.raises(BundleError, match=message):
            read(copy)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 99", "format: input should be 1"),
        ("low = 4960.0", "low = 9000.0", r"labels\.0\.high: .*above low, 9000"),
        ("low = 4960.0", "low = nan", r"labels\.0\.low: .*finite"),
        ("high = 5440.0", "high = inf", r"labels\.0\.high: .*finite"),
        (r"scale = \[\s*2\.0", "scale = [-2.0", r"calibration\.scale\.0: .*greater than 0"),
        (r"scale = \[\s*2\.0", "scale = [inf", r"calibration\.scale\.0: .*finite"),
        (r"floor = \[\s*40\.0", "floor = [-1.0", r"calibration\.floor\.0: .*greater than or equal to 0"),
        (r"floor = \[\s*40\.0,\s*\]\n", "", r"calibration\.floor"),
        (r"floor = \[\s*40\.0,", "floor = [40.0, 41.0,", "snr, scale and floor must be equally many"),
        (r"snr = \[\s*1\.0", "snr = [0.0", r"calibration\.snr\.0: .*greater than 0"),
        (r"snr = \[\s*1\.0,\s*\]", "snr = []", r"calibration\.snr: .*at least 1"),
        (
            r"snr = \[.*?floor = \[.*?\]",
            "snr = [9.0, 9.0]\nscale = [1.0, 1.0]\nfloor = [0.0, 0.0]",
            "snr must ascend",
        ),
        ('unit = "K"', 'unit = "eV"', "(?i)this program has teff in 'K'"),
        ('name = "teff"', 'name = "colour"', "label 'colour' is unknown"),
        ('name = "fe_h"', 'name = "mg_h"', "mg_h is there twice"),
        (r"\[sampling\].*?\n\n", "", "all are calibrated where sampling is given"),
        ('name = "mg_fe"(.*)name = "mg_fe"', r'name = "mg_fe"\1name = "si_fe"', "the last of the labels"),
        ('minuend = "mg_h"', 'minuend = "fe_h"', "difference of two of"),
        ('minuend = "mg_h"', 'minuend = "mg_fe"', "difference of two of"),
        ("support_chi2 = 2.0", "support_chi2 = 0.0", r"thresholds\.support_chi2.*greater than 0"),
        ("support_chi2 = 2.0", "support_chi2 = nan", r"thresholds\.support_chi2.*finite"),
        (r"limits = \[\]", 'limits = [{ name = "a", low = 2.0, high = 1.0 }]', "not be below low, 2"),
        (r"limits = \[\]", 'limits = [{ name = "a", low = nan, high = 1.0 }]', r"limits\.0\.low: .*finite"),
        ("members = 2", "members = 0", r"members: .*greater than 0"),
    ],
)
def test_a_card_that_cannot_be_true_is_refused_by_key(copy: Path, old: str, new: str, message: str) -> None:
    replaced(copy, old, new)
    with pytest.raises(BundleError, match=message):
        load_card(copy)


def without(name: str) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {key: array for key, array in arrays.items() if key != name}


def value(name: str, number: float) -> Callable[[Arrays], Arrays]:
    def change(arrays: Arrays) -> Arrays:
        altered = arrays[name].copy()
        altered.flat[0] = number
        return arrays | {name: altered}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("input.scale"), rf"input\.scale is missing, expected shape \({PIXELS}\)"),
        (
            without("network.0.layers.0.weight"),
            rf"network\.0\.layers\.0\.weight is missing, expected shape \(32, {PIXELS}\)",
        ),
        (without("support.mean"), r"support\.mean is missing"),
        (without("network.1.layers.12.bias"), r"network\.1\.layers\.12\.bias is missing"),
        (lambda a: a | {"network.2.bias": a["label.scale"]}, r"network\.2\.bias is unknown"),
        (lambda a: a | {"support.label_centre": a["label.scale"]}, r"support\.label_centre is unknown"),
        (
            lambda a: a | {"input.centre": a["input.centre"][:-1]},
            rf"has shape \(7780\), expected \({PIXELS}\)",
        ),
        (lambda a: a | {"label.scale": a["label.scale"][None]}, r"has shape \(1, 4\), expected \(4\)"),
        (
            lambda a: a | {"support.components": a["support.components"].T},
            rf"has shape \({PIXELS}, 2\), expected \(any, {PIXELS}\)",
        ),
        (lambda a: a | {"support.scatter": a["support.scatter"][:5]}, r"support\.scatter has shape \(5\)"),
        (
            lambda a: a | {"network.0.layers.0.bias": a["network.0.layers.0.bias"].astype(np.int32)},
            r"not float32 \(F32\): network\.0\.layers\.0\.bias \(I32\)",
        ),
        (lambda a: a | {"input.scale": a["input.scale"].astype(np.float64)}, r"input\.scale \(F64\)"),
        (value("label.scale", 0.0), r"label\.scale has 1 of 4 values that are not finite and above 0"),
        (value("label.scale", -1.0), r"label\.scale has 1 of 4"),
        (value("label.scale", np.inf), r"label\.scale has 1 of 4"),
        (value("input.scale", np.nan), r"input\.scale has 1 of 7781 values that are not above 0"),
        (value("input.scale", 0.0), r"input\.scale has 1 of 7781"),
        (value("network.0.layers.0.weight", np.nan), r"network\.0\.layers\.0\.weight has 1 of"),
        (value("support.mean", np.inf), r"support\.mean has 1 of"),
        (value("support.scatter", -0.1), r"support\.scatter has 1 of"),
    ],
)
def test_arrays_that_do_not_fit_the_card_are_refused_by_name(
    whole: Path, tmp_path: Path, change: Callable[[Arrays], Arrays], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        read(rewritten(whole, tmp_path / "other", change))


def test_a_pixel_that_the_model_does_not_use_has_an_infinite_scale(whole: Path, tmp_path: Path) -> None:
    read(rewritten(whole, tmp_path / "other", value("input.scale", np.inf)))


def test_a_model_that_uses_no_pixel_is_refused(whole: Path, tmp_path: Path) -> None:
    def blind(arrays: Arrays) -> Arrays:
        return arrays | {"input.scale": np.full_like(arrays["input.scale"], np.inf)}

    with pytest.raises(
        BundleError, match=r"input\.scale has 7781 of 7781 values .* finite for the inputs in"
    ):
        read(rewritten(whole, tmp_path / "other", blind))


def test_limits_of_what_the_model_does_not_take_are_refused(whole: Path, tmp_path: Path) -> None:
    limits = (LimitsCard(name="phot_g_mean_mag", low=8.0, high=16.0),)
    card = load_card(whole).model_copy(update={"limits": limits})
    save_bundle(tmp_path / "b", card, safetensors.numpy.load_file(whole / WEIGHTS))
    with pytest.raises(BundleError, match="limits of phot_g_mean_mag, which desi_mlp_4 does not take"):
        read(tmp_path / "b")


def test_every_member_of_an_ensemble_has_weights_of_its_own(whole: Path) -> None:
    desi, arrays = SURVEYS["desi"], safetensors.numpy.load_file(whole / WEIGHTS)
    _, networks = load_model(whole, keys=desi.keys, spectrograph=desi.spectrograph, sampling=SAMPLING)
    firsts = [network.state_dict()["layers.0.weight"].numpy() for network in networks]
    assert len(firsts) == 2
    assert (firsts[0] != firsts[1]).any()
    for member, first in enumerate(firsts):
        np.testing.assert_array_equal(first, arrays[f"network.{member}.layers.0.weight"])
    assert not any(network.training for network in networks)


def test_hyper_parameters_that_the_network_does_not_know_are_named(whole: Path, tmp_path: Path) -> None:
    card = load_card(whole)
    hyper = card.hyper | {"activation": "sine"}
    save_bundle(tmp_path / "b", card.model_copy(update={"hyper": hyper}), {"label.scale": np.ones(4, "f4")})
    with pytest.raises(BundleError, match="activation: input should be 'relu' or 'gelu'"):
        read(tmp_path / "b")


def test_a_crash_while_writing_leaves_no_bundle(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(content: object) -> str:
        raise OSError(28, "No space left on device")

    card, arrays = load_card(whole), safetensors.numpy.load_file(whole / WEIGHTS)
    with monkeypatch.context() as patched:
        patched.setattr(bundles, "_sync", full)
        with pytest.raises(BundleError, match=r"No space left.*what there is of it is .*\.b\."):
            save_bundle(tmp_path / "b", card, arrays)
    assert not (tmp_path / "b").exists()
    save_bundle(tmp_path / "b", card, arrays)
    read(tmp_path / "b")


def test_a_place_that_is_taken_or_cannot_be_written_is_refused(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, message in (
        (whole, "not empty"),
        (tmp_path / "file", "not empty"),
        (tmp_path / "file" / "b", "cannot be written"),
        (Path("/proc/b"), "cannot be written"),
    ):
        with pytest.raises(BundleError, match=message):
            bundles.check_place(place)
    (tmp_path / "empty").mkdir()
    bundles.check_place(tmp_path / "empty")
    save_bundle(tmp_path / "empty", load_card(whole), safetensors.numpy.load_file(whole / WEIGHTS))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_a_card_says_of_itself_does_not_hang_on_its_hash_of_the_weights(whole: Path) -> None:
    card = load_card(whole)
    assert card.model_copy(update={"weights_sha256": "0"}).digest() == card.digest()
    assert card.model_copy(update={"name": "other"}).digest() != card.digest()
    assert tomli_w.dumps(card.model_dump(mode="json", exclude_none=True)) == (whole / CARD).read_text()
