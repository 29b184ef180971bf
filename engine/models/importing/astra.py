"""State dicts of SDSS Astra's AstroNN and AstroNNDist (PyTorch) -> weights of ours.

The layout is that of `ApogeeBCNNCensored` and `ApogeeDistBCNN` in sdss/astra (network.py of pipelines/astronn
and pipelines/astronn_dist). Their layers for values and for log-variances are rows of one layer here.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import BundleError
from engine.models.architecture import Architecture
from engine.models.astronn_pixels import PIXELS, element_pixels
from engine.models.importing.tensors import mask, numbers, read_state
from engine.models.importing.weights import Weights
from engine.spec import Frozen
from engine.toml import strictly
from engine.types import Floats

ASTRA = ("astronn", "astronn_dist")
TRUNK = {"conv1": ("conv1",), "conv2": ("conv2",), "dense1": ("dense_1",), "dense2": ("dense_2",)}
# The rows of the trunk's head: values, their log-variances, and what goes to the elements.
HEADS = {
    "astronn": ("dense_teffloggfeh", "dense_teffloggfeh_var", "dense_aux_fullspec"),
    "astronn_dist": ("dense_output", "dense_var"),
}
ROWS = {"dense_teffloggfeh": 3, "dense_teffloggfeh_var": 3, "dense_aux_fullspec": 2}
ELEMENT = {
    "dense1": ("elem_dense1",),
    "dense2": ("elem_dense2",),
    "out": ("elem_dense_out", "elem_dense_var"),
}
MASKS = "aspcap_masks"


def read_astra(path: Path, architecture: Architecture) -> Weights:
    """The network of a file with the scalers that the file holds; the widths of its trunk are the file's.

    BundleError, naming the tensor with shapes found and expected, for a file of anything but this network.
    """
    state = read_state(path)
    hyper = _hyper(path, state, architecture)
    with torch.device("meta"):
        network = architecture.build(hyper, architecture.inputs, len(architecture.labels))
    layers = {
        name: layer for name, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv1d)
    }
    theirs = _theirs(architecture)
    member: dict[str, Floats] = {}
    for name, layer in layers.items():
        member |= {
            f"{name}.{kind}": _joined(path, state, theirs[name], kind, layer) for kind in ("weight", "bias")
        }
    if architecture.name == "astronn":
        member["sees_EP"] = _sees(path, state)
    _refuse_others(path, state, architecture, theirs)
    return Weights(
        format=f"PyTorch state dict of SDSS Astra ({architecture.name})",
        hyper=hyper,
        members=(member,),
        scalers=_scalers(path, state, architecture),
    )


def _theirs(architecture: Architecture) -> dict[str, tuple[str, ...]]:
    """Layers of ours, and those of theirs that follow one another in its rows."""
    names = {f"trunk.{ours}": theirs for ours, theirs in TRUNK.items()}
    names["trunk.head"] = HEADS[architecture.name]
    if architecture.name == "astronn":
        for place, element in enumerate(element_pixels()):
            names |= {
                f"heads.{element}.{ours}": tuple(f"{name}.{place}" for name in theirs)
                for ours, theirs in ELEMENT.items()
            }
    return names


def _hyper(path: Path, state: Mapping[str, Tensor], architecture: Architecture) -> Frozen:
    """Hyper-parameters with the file's widths of the trunk."""
    widths = []
    for name in ("dense_1.bias", "dense_2.bias"):
        if name not in state or state[name].ndim != 1 or not len(state[name]):
            raise BundleError(f"{path}: {name} is missing or no vector: it is another network")
        widths.append(len(state[name]))
    return strictly(architecture.hyper.model_dump() | {"hidden": widths}, type(architecture.hyper))


def _joined(
    path: Path, state: Mapping[str, Tensor], theirs: tuple[str, ...], kind: str, layer: nn.Linear | nn.Conv1d
) -> Floats:
    """Weight or bias of one of our layers, from the layers of the file that are its rows."""
    rows, *rest = getattr(layer, kind).shape
    parts = [
        numbers(path, state, f"{name}.{kind}", (rows if len(theirs) == 1 else ROWS.get(name, 1), *rest))
        for name in theirs
    ]
    joined = np.concatenate(parts)
    assert len(joined) == rows
    return joined


def _sees(path: Path, state: Mapping[str, Tensor]) -> Floats:
    """Which pixels each element sees, by the file, shape (19, 7514): as many as published, maybe others."""
    rows = []
    for place, (element, published_P) in enumerate(element_pixels().items()):
        sees_P = mask(path, state, f"{MASKS}.{place}", (PIXELS,))
        found, expected = int(sees_P.sum()), int(published_P.sum())
        if found != expected:
            raise BundleError(
                f"{path}: {MASKS}.{place} ({element}) lets {found} pixels through, expected {expected}: "
                "it is another network"
            )
        rows.append(sees_P.astype(np.float32))
    return np.stack(rows)


def _refuse_others(
    path: Path, state: Mapping[str, Tensor], architecture: Architecture, theirs: Mapping[str, tuple[str, ...]]
) -> None:
    """BundleError for tensors that belong to no part of the network."""
    known = {f"{name}.{kind}" for names in theirs.values() for name in names for kind in ("weight", "bias")}
    known |= {"input_mean", "labels_std"}
    if architecture.name == "astronn":
        known |= {"labels_mean", *(f"{MASKS}.{place}" for place in range(len(element_pixels())))}
    if others := sorted(state.keys() - known):
        raise BundleError(
            f"{path}: {', '.join(others[:5])} {'is' if len(others) == 1 else 'are'} unknown to "
            f"{architecture.name}: it is another network; choose another --model"
        )


def _scalers(path: Path, state: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Floats]:
    """Pixels are centred; labels have a scale, and a centre where the network has more than one."""
    labels = len(architecture.labels)
    scale_L = numbers(path, state, "labels_std", (labels,))
    if (scale_L <= 0).any():
        raise BundleError(f"{path}: labels_std must be above 0, its least is {scale_L.min():g}")
    centred = architecture.name == "astronn"
    centre_L = numbers(path, state, "labels_mean", (labels,)) if centred else np.zeros(labels, np.float32)
    return {
        "input.centre": numbers(path, state, "input_mean", (PIXELS,)),
        "input.scale": np.ones(PIXELS, np.float32),
        "label.centre": centre_L,
        "label.scale": scale_L,
    }
