"""Keras models saved as HDF5 -> weights of the networks that were published in Keras."""

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path

import h5py
import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from engine.draw import Network
from engine.errors import BundleError
from engine.models.architecture import Architecture
from engine.models.importing.graph import steps_of
from engine.models.importing.hdf5 import datasets, floats, of_layer, opened, text
from engine.models.importing.steps import Ours, Step, steps_of_ours
from engine.models.importing.weights import Weights
from engine.spec import Frozen
from engine.toml import complaints, strictly
from engine.types import Floats

# The models whose networks were published in Keras.
KERAS = ("rave_cnn_2019", "rave_cnn_2020", "lithium_cnn")


def read_keras(paths: tuple[Path, ...], architecture: Architecture) -> Weights:
    """One trained network of each file, the members of an ensemble.

    Layers are taken by their place in the graph; their names count nothing. BundleError, naming the file and
    the layer, for a file that holds anything but this network.
    """
    with torch.device("meta"):
        network = architecture.build(architecture.hyper, architecture.inputs, len(architecture.labels))
    members, rates, versions = [], set(), set()
    for path in paths:
        with opened(path) as file:
            member, steps = _member(path, file, network, architecture)
            versions.add(text(file, "keras_version") or "of unknown version")
        members.append(member)
        rates |= {step.rate for step in steps if step.text == "Dropout"}
    return Weights(
        format=f"HDF5 of Keras {', '.join(sorted(versions))}",
        hyper=_with_dropout(paths, architecture.hyper, rates),
        members=tuple(members),
    )


def _member(
    path: Path, file: h5py.File, network: Network, architecture: Architecture
) -> tuple[dict[str, Floats], list[Step]]:
    """The arrays of one file under the names of our modules, and the steps that it computes."""
    config = text(file, "model_config")
    if config is None:
        raise BundleError(
            f"{path} holds no model_config, so which layer is which is not known: save the whole model "
            'in Keras, with model.save("model.h5")'
        )
    steps = steps_of(str(path), config)
    ours = steps_of_ours(network, architecture.inputs)
    _compare(path, steps, ours, architecture)
    arrays, names = datasets(file), {module: name for name, module in network.named_modules()}
    member: dict[str, Floats] = {}
    for step, own in zip(steps, ours, strict=True):
        if own.module is not None:
            weight, bias = _layer(str(path), step.layer, own.module, arrays)
            member |= {f"{names[own.module]}.weight": weight, f"{names[own.module]}.bias": bias}
    return member, steps


def _compare(path: Path, steps: list[Step], ours: list[Ours], architecture: Architecture) -> None:
    """BundleError at the first layer that computes something else than ours does there."""
    for step, own in zip_longest(steps, ours):
        if step is None:
            raise BundleError(f"{path} ends where {architecture.name} has {own.text}: it is another network")
        if own is None or step.text != own.text:
            raise BundleError(
                f"{path}: layer {step.layer} is {step.text}, where {architecture.name} has "
                f"{own.text if own else 'no more'}: it is another network; choose another --model"
            )


def _layer(
    file: str, layer: str, module: nn.Conv1d | nn.Linear, arrays: Mapping[str, h5py.Dataset]
) -> tuple[Floats, Floats]:
    """Weight and bias of one layer. Keras counts (kernel, in, out) and (in, out), PyTorch the other way."""
    shape = tuple(reversed(module.weight.shape))
    kernel, bias = (
        floats(f"{file}: {name} of layer {layer}", of_layer(file, layer, name, arrays), expected)
        for name, expected in (("kernel", shape), ("bias", shape[-1:]))
    )
    return np.ascontiguousarray(kernel.T), bias


def _with_dropout(paths: tuple[Path, ...], hyper: Frozen, rates: set[float | None]) -> Frozen:
    """The hyper-parameters with the dropout of the files; BundleError unless they have one in common."""
    if len(rates) != 1:
        raise BundleError(
            f"{paths[0]} and what comes with it drop units at rates of {', '.join(sorted(map(str, rates)))}: "
            "expected one rate, so that they are one model"
        )
    try:
        return strictly(hyper.model_dump() | {"dropout": rates.pop()}, type(hyper))
    except ValidationError as error:
        raise BundleError(f"{paths[0]}: its dropout:\n{complaints(error, type(hyper))}") from None
