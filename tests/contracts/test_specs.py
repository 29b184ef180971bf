"""Every spec and profile that the repository ships can be read, and names what is registered."""

from pathlib import Path

import pytest

from engine.columns import describe_label
from engine.models import MODELS
from engine.spec import Profile, RunSpec
from engine.surveys import SURVEYS
from engine.toml import load
from engine.train.spec import TrainSpec

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "infer").glob("*.toml")), ids=lambda path: path.stem)
def test_run_specs(path: Path) -> None:
    assert load(path, RunSpec).survey.name in SURVEYS


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "train").glob("*.toml")), ids=lambda path: path.stem)
def test_training_specs(path: Path) -> None:
    spec = load(path, TrainSpec)
    assert spec.survey.name in SURVEYS
    architecture = MODELS[spec.model.name]
    type(architecture.hyper).model_validate(architecture.hyper.model_dump() | spec.model.hyper)
    assert all(describe_label(name) for name in spec.labels.names)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "cluster" / "profiles").glob("*.toml")), ids=lambda path: path.stem
)
def test_profiles(path: Path) -> None:
    assert load(path, Profile).runtime
