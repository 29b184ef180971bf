"""HDF5 files as Keras 2 saves models, with random weights, and what such a model computes, in numpy."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Layer = tuple[str, dict[str, Any]]
Arrays = Mapping[str, np.ndarray]
LEAKY: Layer = ("LeakyReLU", {"alpha": 0.30000001192092896})
DROPOUT: Layer = ("Dropout", {"rate": 0.2})
FLATTEN: Layer = ("Flatten", {"data_format": "channels_last"})


def spectrum(pixels: int) -> Layer:
    return "InputLayer", {"batch_input_shape": [None, pixels, 1]}


def conv(filters: int, kernel: int) -> Layer:
    plain = {"strides": [1], "padding": "valid", "data_format": "channels_last", "dilation_rate": [1]}
    return "Conv1D", {
        "filters": filters,
        "kernel_size": [kernel],
        "activation": "linear",
        "use_bias": True,
    } | plain


def dense(units: int) -> Layer:
    return "Dense", {"units": units, "activation": "linear", "use_bias": True}


def pool(size: int) -> Layer:
    return "MaxPooling1D", {"pool_size": [size], "strides": [size], "padding": "valid"}


RAVE_2019 = [
    *(spectrum(723), conv(8, 20), LEAKY, conv(4, 20), LEAKY, conv(2, 20), LEAKY, DROPOUT, FLATTEN),
    *(dense(32), LEAKY, dense(16), LEAKY, dense(4)),
]
LITHIUM = [
    *(spectrum(6861), conv(8, 10), LEAKY, pool(2), conv(6, 15), LEAKY, pool(2), conv(4, 10), LEAKY, DROPOUT),
    *(FLATTEN, dense(64), LEAKY, DROPOUT, dense(128), LEAKY, DROPOUT, dense(32), LEAKY, dense(4)),
]
SPECTRA = [
    *(spectrum(912), conv(8, 10), LEAKY, conv(4, 10), LEAKY, conv(2, 10), LEAKY, DROPOUT, FLATTEN),
    *(dense(32), LEAKY),
]
MAGNITUDES = [spectrum(9), FLATTEN, dense(27), LEAKY]
TAIL = [dense(16), LEAKY, dense(9)]


def write_keras(
    path: Path, branches: Sequence[Sequence[Layer]], tail: Sequence[Layer] = (), *, seed: int = 0
) -> Path:
    """A file of some branches, and of a tail on all of them joined; names count from `seed`."""
    config, arrays, ends = [], {}, []
    generator, counter = np.random.default_rng(seed), seed
    for branch in branches:
        previous, shape = "", ()
        for kind, settings in branch:
            counter += 1
            previous, shape = _add(
                config, arrays, kind, settings, f"{kind.lower()}_{counter}", [previous], shape, generator
            )
        ends.append((previous, shape))
    if tail:
        names, width = [name for name, _ in ends], sum(shape[-1] for _, shape in ends)
        previous, shape = _add(
            config, arrays, "Concatenate", {"axis": -1}, f"join_{seed}", names, (width,), generator
        )
        for kind, settings in tail:
            counter += 1
            previous, shape = _add(
                config, arrays, kind, settings, f"{kind.lower()}_{counter}", [previous], shape, generator
            )
    model = {"class_name": "Functional", "config": {"layers": config, "output_layers": [[previous, 0, 0]]}}
    save(path, model, arrays)
    return path


def save(path: Path, model: Mapping[str, Any], arrays: Arrays) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(model)
        file.attrs["keras_version"] = "2.4.0"
        for name, array in arrays.items():
            file[f"model_weights/{name}"] = array


def _add(
    config: list[dict[str, Any]],
    arrays: dict[str, np.ndarray],
    kind: str,
    settings: Mapping[str, Any],
    name: str,
    sources: Sequence[str],
    shape: tuple[int, ...],
    generator: np.random.Generator,
) -> tuple[str, tuple[int, ...]]:
    """Append a layer to the configuration and its weights to the arrays; its name and the shape it gives."""
    nodes = [[[source, 0, 0, {}] for source in sources if source]]
    config.append(
        {
            "class_name": kind,
            "name": name,
            "config": {"name": name, **settings},
            "inbound_nodes": nodes if nodes[0] else [],
        }
    )
    kernel: tuple[int, ...] = ()
    match kind:
        case "InputLayer":
            shape = tuple(settings["batch_input_shape"][1:])
        case "Flatten":
            shape = (int(np.prod(shape)),)
        case "Conv1D":
            kernel = (*settings["kernel_size"], shape[1], settings["filters"])
            shape = (shape[0] - kernel[0] + 1, kernel[2])
        case "MaxPooling1D":
            shape = (shape[0] // settings["pool_size"][0], shape[1])
        case "Dense":
            kernel = (shape[0], settings["units"])
            shape = kernel[1:]
    if kernel:
        width = np.sqrt(2 / np.prod(kernel[:-1]))
        arrays[f"{name}/{name}/kernel:0"] = generator.normal(scale=width, size=kernel).astype(np.float32)
        arrays[f"{name}/{name}/bias:0"] = generator.normal(scale=0.1, size=kernel[-1:]).astype(np.float32)
    return name, shape


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.3 * x)


def convolved(x_NPC: np.ndarray, kernel_KCF: np.ndarray, bias_F: np.ndarray) -> np.ndarray:
    """A valid convolution of channels-last arrays, as Keras has it, in float64."""
    windows_NPCK = sliding_window_view(x_NPC, len(kernel_KCF), axis=1)
    return np.einsum("npck,kcf->npf", windows_NPCK, kernel_KCF.astype(np.float64)) + bias_F


def pooled(x_NPC: np.ndarray, size: int) -> np.ndarray:
    rows, pixels, channels = x_NPC.shape
    whole = x_NPC[:, : pixels // size * size]
    return whole.reshape(rows, pixels // size, size, channels).max(axis=2)


def in_order(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernel and bias of every layer of a file that `write_keras` wrote, in the order of their numbers."""
    with h5py.File(path) as file:
        group = file["model_weights"]
        names = sorted(group, key=lambda name: int(name.rpartition("_")[2]))
        return [(group[f"{n}/{n}/kernel:0"][()], group[f"{n}/{n}/bias:0"][()]) for n in names]


def through(
    x: np.ndarray, layers: Sequence[Layer], weights: list[tuple[np.ndarray, np.ndarray]]
) -> np.ndarray:
    """What layers make of x, (N, pixels, 1) or (N, units); takes the weights it needs from the front."""
    for kind, settings in layers:
        match kind:
            case "Conv1D":
                x = convolved(x, *weights.pop(0))
            case "Dense":
                kernel, bias = weights.pop(0)
                x = x @ kernel.astype(np.float64) + bias
            case "LeakyReLU":
                x = leaky(x)
            case "MaxPooling1D":
                x = pooled(x, settings["pool_size"][0])
            case "Flatten":
                x = x.reshape(len(x), -1)
    return x
