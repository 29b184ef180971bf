"""How exactly a card computes, what its memory's end says, and of which kind it is; no card is needed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
import ray
import torch

from engine.errors import PlanError, RunError
from engine.plan import make_plan
from engine.runtime import site
from engine.runtime.device import enough_memory, exact_arithmetic
from engine.spec import Profile, RunSpec


@contextmanager
def settings_kept() -> Iterator[None]:
    """torch computes afterwards as before, and the environment is what it was."""
    kept = torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
    allowed, filled = torch.backends.cudnn.allow_tf32, torch.utils.deterministic.fill_uninitialized_memory
    try:
        with patch.dict(os.environ):
            yield
    finally:
        torch.use_deterministic_algorithms(kept[0])
        torch.set_float32_matmul_precision(kept[1])
        torch.backends.cudnn.allow_tf32 = allowed
        torch.utils.deterministic.fill_uninitialized_memory = filled  # pyright: ignore[reportAttributeAccessIssue]


def test_sums_have_one_order() -> None:
    with settings_kept():
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
        torch.backends.cudnn.allow_tf32 = True
        exact_arithmetic()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(
    ("name", "value"), [("CUBLAS_WORKSPACE_CONFIG", ":16:8"), ("NVIDIA_TF32_OVERRIDE", "1")]
)
def test_an_environment_that_says_otherwise_is_refused(name: str, value: str) -> None:
    with settings_kept(), pytest.raises(RunError, match=rf"{name}.* is set here, .*: unset it"):
        os.environ[name] = value
        exact_arithmetic()


@pytest.mark.parametrize(
    "full",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_memory_that_runs_out_comes_with_a_remedy(full: RuntimeError) -> None:
    with pytest.raises(RunError, match=r"over 512 stars at a time: .*`gpus`.*`rows`"), enough_memory(512):
        raise full


def test_other_errors_of_a_card_stay_themselves() -> None:
    with pytest.raises(RuntimeError, match="illegal memory access"), enough_memory(512):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_a_card_that_prepares_is_a_kind_of_its_own() -> None:
    kinds = {
        site.kind({"H200"}, Profile(gpus=1, prepare="actor")),
        site.kind({"H200"}, Profile(gpus=1, prepare="read")),
        site.kind((), Profile(prepare="actor")),
    }
    assert len(kinds) == 3
    assert site.kind((), Profile(prepare="actor")) == site.kind((), Profile(prepare="read"))


def test_cards_of_several_kinds_are_not_mixed_unasked(
    run_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(run_spec())
    nodes = [
        {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0, f"accelerator_type:{kind}": 1.0}}
        for kind in ("A100", "H200")
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(site, "connect", lambda _profile: None)
    with pytest.raises(PlanError, match=r"GPUs of several kinds \(A100, H200\).* mix_machines = true"):
        site.on_ray(plan, Profile(gpus=1))
    mixed = site.on_ray(plan, Profile(gpus=1, mix_machines=True))
    assert (mixed.gpus, "A100, H200" in mixed.kind) == (2.0, True)
    assert "A100" not in site.on_ray(plan, Profile()).kind
