"""The card, or none, on which a process computes, and how exactly."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
import torch

from engine.errors import PlanError, RunError
from engine.spec import Profile

# What cuBLAS and cuDNN obey before they obey torch, and what it must say for sums to have one order.
WORKSPACE, INEXACT = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8"), "NVIDIA_TF32_OVERRIDE"


def device_of(profile: Profile) -> torch.device:
    """Of this process; PlanError where the profile asks for a GPU in vain, RunError as `exact_arithmetic`."""
    if profile.gpus == 0:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise PlanError(
            f"gpus = {profile.gpus:g}, but torch sees no CUDA device here; run without `gpus` in the profile "
            "or check the driver, CUDA_VISIBLE_DEVICES, and that torch was installed with CUDA"
        )
    exact_arithmetic()
    return torch.device("cuda")


def lent_device() -> torch.device:
    """What Ray lent to this worker; RunError where that is a GPU and torch cannot use it, or not exactly."""
    if not ray.get_gpu_ids():
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RunError(
            f"Ray lends this worker a GPU of {ray.util.get_node_ip_address()}, but torch sees no CUDA device "
            "there: install the build of torch with CUDA on the nodes with GPUs, or check their driver"
        )
    exact_arithmetic()
    return torch.device("cuda")


def exact_arithmetic() -> None:
    """A card's float32 is what it says, and the same every time: no TF32, no sums in the order of arrival.

    RunError where the environment says otherwise.
    """
    name, value = WORKSPACE
    # Read when cuBLAS starts: workspaces of which sums do not depend on what else runs.
    if (found := os.environ.setdefault(name, value)) != value:
        raise RunError(f"{name}={found} is set here, and sums would have another order: unset it")
    if os.environ.get(INEXACT, "0") != "0":
        raise RunError(f"{INEXACT} is set here, and products would be rounded to 10 bits: unset it")
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would also write NaN over all memory that is about to be written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]


@contextmanager
def enough_memory(rows: int) -> Iterator[None]:
    """RunError with the remedy where a card's memory runs out in the block, whoever asked for it."""
    try:
        yield
    except RuntimeError as error:
        if not _is_full(error):
            raise
        raise RunError(
            f"the card's memory ran out over {rows} stars at a time: give each actor more of a card (`gpus` "
            "in the profile), or plan smaller tasks (`rows` of [tasks])"
        ) from error


def _is_full(error: RuntimeError) -> bool:
    """torch has an error of its own for what it asks for itself; libraries of CUDA have theirs."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in ("CUDA error: out of memory", "ALLOC_FAILED")
    )
