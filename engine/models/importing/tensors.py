"""PyTorch files of unknown origin: tensors by name, and nothing that could run."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.errors import BundleError
from engine.models.importing.weights import as_floats, check_shape
from engine.types import Floats

STATE = "model_state_dict"


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors under "model_state_dict"; BundleError for a file that holds anything that could run.

    `weights_only` reads a subset of pickle in which nothing is called but the making of tensors.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    # A pickle of unknown origin can end the reading with any error there is.
    except Exception as error:  # noqa: BLE001
        raise BundleError(
            f"{path}: not a PyTorch file of tensors alone, and nothing of it was run: {_reason(error)}. "
            'Save it anew with torch.save({"model_state_dict": model.state_dict()}, path)'
        ) from None
    state = found.get(STATE) if isinstance(found, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise BundleError(f"{path} holds no {STATE}: it is no file of SDSS Astra's networks")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or not _lies_there(tensor):
            raise BundleError(f"{path}: {name} in its {STATE} is no array of numbers")
    return dict(state)


def _reason(error: Exception) -> str:
    """What torch has against a file, without its advice to read it all the same."""
    if found := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds {found.group(1)}, which is no tensor"
    lines = str(error).strip().splitlines()
    if not lines or lines[0].startswith("Weights only load failed"):
        return "it is cut short, or of another kind"
    return f"{type(error).__name__}: {lines[0].rstrip('.')}"


def _lies_there(tensor: Tensor) -> bool:
    """Whether each number of a tensor has bytes of its own, so that it is not larger than its file."""
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def numbers(path: Path, state: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Floats:
    """One tensor of this shape as float32; BundleError where it is missing, or something else."""
    tensor = _of_shape(path, state, name, shape)
    if not tensor.is_floating_point():
        raise BundleError(f"{path}: {name} is {tensor.dtype}, expected floating-point numbers")
    return as_floats(f"{path}: {name}", tensor.detach().to(torch.float64).numpy())


def mask(path: Path, state: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One tensor of booleans; BundleError where it is missing, or something else."""
    tensor = _of_shape(path, state, name, shape)
    if tensor.dtype != torch.bool:
        raise BundleError(f"{path}: {name} is {tensor.dtype}, expected booleans")
    return tensor.detach().numpy()


def _of_shape(path: Path, state: Mapping[str, Tensor], name: str, shape: tuple[int, ...]) -> Tensor:
    if name not in state:
        raise BundleError(f"{path}: {name} is missing, expected shape {tuple(shape)}: it is another network")
    check_shape(f"{path}: {name}", tuple(state[name].shape), shape)
    return state[name]
