"""`abundant import`: Keras files and tables of CSV, and everything that can be wrong with them."""

import json
import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from engine.errors import BundleError, InputError
from engine.models import MODELS
from engine.models.bundle import load_card
from engine.models.importing import read_keras, read_limits
from engine.models.importing.tables import numbers_of, read_table
from engine.models.model import load_model
from engine.spec import Sampling
from engine.surveys import SURVEYS
from jobs.importing import Tables, run_import
from tests import keras_files as keras
from tests.unit.label_tables import STARS, write_csv

FILES = {
    "rave_cnn_2019": ([keras.RAVE_2019], []),
    "rave_cnn_2020": ([keras.SPECTRA, keras.MAGNITUDES], keras.TAIL),
    "lithium_cnn": ([keras.LITHIUM], []),
}
PHOTOMETRY = "parallax phot_g_mean_mag phot_bp_mean_mag phot_rp_mean_mag"
PHOTOMETRY += " Jmag_2MASS Hmag_2MASS Kmag_2MASS wise1 wise2 av50"


def photometry(path: Path, rows: int) -> Path:
    columns = PHOTOMETRY.split()
    return write_csv(path, columns, np.random.default_rng(2).uniform(0.5, 9, (rows, len(columns))))


@pytest.mark.parametrize("model", FILES)
def test_a_keras_file_computes_the_same_here(
    model: str, labels: Callable[[str], Path], tmp_path: Path
) -> None:
    branches, tail = FILES[model]
    paths = tuple(keras.write_keras(tmp_path / f"{i}.h5", branches, tail, seed=10 * i) for i in (1, 2))
    parameters = photometry(tmp_path / "photometry.csv", STARS) if tail else None
    tables = Tables(labels=labels(model), parameters=parameters)
    run_import("keras", paths, model=model, out=tmp_path / "b", tables=tables, name="", licence="MIT")
    survey = SURVEYS["rave"]
    _, networks = load_model(
        tmp_path / "b", keys=survey.keys, spectrograph=survey.spectrograph, sampling=Sampling(draws=0)
    )
    x_NI = np.random.default_rng(3).normal(size=(3, MODELS[model].inputs))
    for path, network in zip(paths, networks, strict=True):
        found = network(torch.from_numpy(x_NI.astype(np.float32))).value_NL.numpy()
        np.testing.assert_allclose(found, forward(path, branches, tail, x_NI), atol=1e-4)
    card = load_card(tmp_path / "b")
    assert (card.name, card.members, card.sampling, card.licence) == ("b", 2, None, "MIT")
    assert [item["name"] for item in card.lineage["imported"]] == ["1.h5", "2.h5"]


def forward(
    path: Path, branches: Sequence[Sequence[keras.Layer]], tail: Sequence[keras.Layer], x_NI: np.ndarray
) -> np.ndarray:
    weights, start, parts = keras.in_order(path), 0, []
    for branch in branches:
        pixels = branch[0][1]["batch_input_shape"][1]
        parts.append(keras.through(x_NI[:, start : start + pixels, None], branch, weights))
        start += pixels
    return keras.through(np.concatenate(parts, axis=1), tail, weights)


def test_sequential_models_are_read_too(tmp_path: Path) -> None:
    path = keras.write_keras(tmp_path / "a.h5", [keras.RAVE_2019])
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            del layer["inbound_nodes"]
        del config["config"]["output_layers"]
        file.attrs["model_config"] = json.dumps(config | {"class_name": "Sequential"})
    assert len(read_keras((path,), MODELS["rave_cnn_2019"]).members) == 1


def other(kind: str, place: int, **settings: Any) -> list[keras.Layer]:
    """The network of 2019 with one layer otherwise."""
    layers = list(keras.RAVE_2019)
    layers[place] = (kind, layers[place][1] | settings)
    return layers


@pytest.mark.parametrize(
    ("layers", "told"),
    [
        (
            other("InputLayer", 0, batch_input_shape=[None, 800, 1]),
            "is Input(800), where rave_cnn_2019 has Input(723)",
        ),
        (other("Conv1D", 1, kernel_size=[10]), "is Conv1D(8, 10), where rave_cnn_2019 has Conv1D(8, 20)"),
        (other("Conv1D", 1, padding="same"), "Conv1D(8, 20) with padding same"),
        (other("Conv1D", 1, strides=[2]), "with strides [2]"),
        (other("Conv1D", 1, activation="relu"), "with activation relu"),
        (other("Conv1D", 1, use_bias=False), "with use_bias False"),
        (other("LeakyReLU", 2, alpha=0.01), "is LeakyReLU(0.01), where rave_cnn_2019 has LeakyReLU(0.3)"),
        (other("ReLU", 2), "is ReLU"),
        (other("Flatten", 8, data_format="channels_first"), "is Flatten with data_format channels_first"),
        (other("Dense", 13, units=5), "is Dense(5), where rave_cnn_2019 has Dense(4)"),
        (keras.RAVE_2019[:-1], "ends where rave_cnn_2019 has Dense(4)"),
        ([*keras.RAVE_2019, keras.dense(4)], "where rave_cnn_2019 has no more"),
        ([layer for layer in keras.RAVE_2019 if layer != keras.DROPOUT], "where rave_cnn_2019 has Dropout"),
        (other("Dropout", 7, rate=1.5), "dropout"),
        (other("Dropout", 7, rate="much"), "dropout"),
    ],
)
def test_another_network_is_refused_at_its_layer(
    layers: list[keras.Layer], told: str, tmp_path: Path
) -> None:
    path = keras.write_keras(tmp_path / "a.h5", [layers])
    with pytest.raises(BundleError, match=re.escape(told)) as caught:
        read_keras((path,), MODELS["rave_cnn_2019"])
    assert str(path) in str(caught.value)


def test_branches_the_other_way_round_are_refused(tmp_path: Path) -> None:
    path = keras.write_keras(tmp_path / "a.h5", [keras.MAGNITUDES, keras.SPECTRA], keras.TAIL)
    with pytest.raises(BundleError, match=re.escape("is Input(9), where rave_cnn_2020 has Input(912)")):
        read_keras((path,), MODELS["rave_cnn_2020"])


def test_members_with_other_dropouts_are_no_ensemble(tmp_path: Path) -> None:
    paths = [keras.write_keras(tmp_path / "a.h5", [keras.RAVE_2019])]
    paths.append(keras.write_keras(tmp_path / "b.h5", [other("Dropout", 7, rate=0.4)]))
    with pytest.raises(BundleError, match=r"rates of 0\.2, 0\.4"):
        read_keras(tuple(paths), MODELS["rave_cnn_2019"])
    assert read_keras(tuple(paths[1:]), MODELS["rave_cnn_2019"]).hyper.model_dump() == {"dropout": 0.4}


def spoil(path: Path, name: str, array: np.ndarray | h5py.ExternalLink | None) -> None:
    """Replace an array of a file, or leave it out."""
    with h5py.File(path, "r+") as file:
        del file[f"model_weights/{name}"]
        if array is not None:
            file[f"model_weights/{name}"] = array


KERNEL = "conv1d_2/conv1d_2/kernel:0"


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (None, "layer conv1d_2 has 0 arrays called kernel, expected one"),
        (
            np.zeros((20, 1, 7), np.float32),
            "kernel of layer conv1d_2 has shape (20, 1, 7), expected (20, 1, 8)",
        ),
        (np.full((20, 1, 8), np.nan, np.float32), "160 of 160 values that are not finite"),
        (np.full((20, 1, 8), 1e300), "160 of 160 values that are not finite"),
        (np.zeros((20, 1, 8), np.int32), "is int32, expected floating-point numbers"),
        (h5py.ExternalLink("other.h5", "kernel"), "has 0 arrays called kernel"),
    ],
)
def test_arrays_that_do_not_fit_are_named(array: np.ndarray | None, told: str, tmp_path: Path) -> None:
    path = keras.write_keras(tmp_path / "a.h5", [keras.RAVE_2019])
    with h5py.File(tmp_path / "other.h5", "w") as other_file:
        other_file["kernel"] = np.zeros((20, 1, 8), np.float32)
    spoil(path, KERNEL, array)
    with pytest.raises(BundleError, match=re.escape(told)) as caught:
        read_keras((path,), MODELS["rave_cnn_2019"])
    assert str(path) in str(caught.value)


def test_bytes_outside_the_file_are_not_read(tmp_path: Path) -> None:
    path = keras.write_keras(tmp_path / "a.h5", [keras.RAVE_2019])
    (tmp_path / "secret").write_bytes(bytes(640))
    spoil(path, KERNEL, None)
    with h5py.File(path, "r+") as file:
        outside = [(str(tmp_path / "secret"), 0, 640)]
        file.create_dataset(f"model_weights/{KERNEL}", (20, 1, 8), "f4", external=outside)
    with pytest.raises(BundleError, match="stored outside the file"):
        read_keras((path,), MODELS["rave_cnn_2019"])


def broken(path: Path, how: str) -> Path:
    """A good file, broken in one of many ways."""
    keras.write_keras(path, [keras.RAVE_2019])
    content = path.read_bytes()
    match how:
        case "truncated":
            path.write_bytes(content[: len(content) // 2])
        case "empty":
            path.write_bytes(b"")
        case "pickled":
            path.write_bytes(pickle.dumps({"weights": [1.0]}))
        case "zip":
            path.write_bytes(b"PK\x03\x04" + content)
        case "missing":
            path.unlink()
        case "folder":
            path.unlink()
            path.mkdir()
        case _:
            with h5py.File(path, "r+") as file:
                if how == "no config":
                    del file.attrs["model_config"]
                else:
                    file.attrs["model_config"] = how
    return path


CIRCLE = {
    "class_name": "Functional",
    "config": {
        "layers": [{"class_name": "Dense", "config": {"name": "a"}, "inbound_nodes": [[["a", 0, 0, {}]]]}],
        "output_layers": [["a", 0, 0]],
    },
}


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("truncated", "cannot be read as HDF5"),
        ("empty", "cannot be read as HDF5"),
        ("pickled", "cannot be read as HDF5"),
        ("zip", r"\.keras archives"),
        ("missing", "cannot be read as HDF5"),
        ("folder", "cannot be read as HDF5"),
        ("no config", "holds no model_config"),
        ("{}", "model_config is no Keras model"),
        ("not json", "model_config is no Keras model"),
        ("[" * 100_000, "model_config is no Keras model"),
        (json.dumps(CIRCLE), "more than 200 layers in a row"),
        (json.dumps(CIRCLE).replace('[["a"', '[["b"'), "joins layer 'b', which it does not have"),
        (json.dumps({"class_name": "Functional", "config": {"layers": []}}), "has 0 outputs"),
    ],
    ids=lambda text: text[:20],
)
def test_files_that_are_no_keras_models_are_refused(how: str, told: str, tmp_path: Path) -> None:
    path = broken(tmp_path / "a.h5", how)
    with pytest.raises(BundleError, match=told) as caught:
        read_keras((path,), MODELS["rave_cnn_2019"])
    assert str(path) in str(caught.value)


def test_limits_come_from_the_training_stars_alone(labels: Callable[[str], Path], tmp_path: Path) -> None:
    """Parameters of more stars, in another order, are matched by the id that both tables have."""
    model, path = MODELS["rave_cnn_2020"], labels("rave_cnn_2020")
    parameters = photometry(tmp_path / "photometry.csv", STARS + 5)
    ids = [f"star{i}" for i in np.random.default_rng(4).permutation(STARS + 5)]
    stars = write_csv(tmp_path / "stars.csv", ["Teff"], np.ones((STARS + 5, 1)), ids)
    found = read_limits(model, path, parameters, stars)
    values = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 10))
    assert [limit.name for limit in found.labels] == list(model.labels)
    np.testing.assert_allclose([limit.low for limit in found.labels], values.min(axis=0))
    taught = np.array([int(one.removeprefix("star")) < STARS for one in ids])
    plain = np.loadtxt(parameters, delimiter=",", skiprows=1)[taught]
    magnitude = plain[:, 1:9] + 5 * (np.log10(plain[:, :1] / 1000) + 1)
    expected = np.column_stack([magnitude, plain[:, 9]])
    np.testing.assert_allclose([limit.low for limit in found.extras], expected.min(axis=0), rtol=1e-6)
    np.testing.assert_allclose([limit.high for limit in found.extras], expected.max(axis=0), rtol=1e-6)
    assert found.stars == STARS


def test_tables_that_give_no_limits_are_refused(labels: Callable[[str], Path], tmp_path: Path) -> None:
    model, path = MODELS["rave_cnn_2020"], labels("rave_cnn_2020")
    more = photometry(tmp_path / "more.csv", STARS + 5)
    wrong = [
        ((None, None, None), "give --labels"),
        ((path, None, None), "give --parameters"),
        ((path, more, None), "Give --stars"),
        ((path, more, path), "expected as many"),
        ((path, path, None), "columns for parallax"),
        ((labels("rave_cnn_2019"), more, None), "columns for fe_h"),
        ((tmp_path / "none.csv", more, None), "cannot be read as CSV"),
    ]
    for tables, told in wrong:
        with pytest.raises(InputError, match=told):
            read_limits(model, *tables)
    with pytest.raises(InputError, match="leave out --parameters"):
        read_limits(MODELS["rave_cnn_2019"], labels("rave_cnn_2019"), more, None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("teff\n", "expected rows"),
        ("teff,teff\n1,2\n", "all different"),
        ("teff\nhot\n", "other things than numbers"),
        ("teff,x\n,1\n3,1\n", "1 values of teff are missing"),
        ("Teff,TEFF\n1,2\n", "2 columns for teff"),
    ],
)
def test_columns_that_are_no_labels_are_refused(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=told):
        numbers_of(path, read_table(path), "teff")
