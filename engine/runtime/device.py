"""The card, or none, on which a process computes, and how exactly."""

import os

import ray
import torch

from engine.errors import PlanError, RunError
from engine.spec import Profile


def device_of(profile: Profile) -> torch.device:
    """Of this process; PlanError where the profile asks for a GPU in vain."""
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
    """What Ray lent to this worker; RunError where that is a GPU and torch cannot use it."""
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
    """A card's float32 is what it says, and the same every time: no TF32, no sums in the order of arrival."""
    # Read when cuBLAS starts: the workspaces of which sums do not depend on what else runs.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would also write NaN over all memory that is about to be written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
