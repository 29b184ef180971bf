"""Every spec and profile that the repository ships can be read, and names what is registered."""

from pathlib import Path

import pytest

from engine.columns import describe_label
from engine.models import MODELS
from engine.models.architecture import handshake, other_labels
from engine.spec import Profile, RunSpec
from engine.surveys import SURVEYS, survey_of
from engine.toml import load
from engine.train.cuts import named_columns
from engine.train.cuts_language import parse
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
    hyper = type(architecture.hyper).model_validate(architecture.hyper.model_dump() | spec.model.hyper)
    assert all(describe_label(name) for name in spec.labels.names)
    assert other_labels(architecture, hyper, spec.labels.names) is None
    assert named_columns(spec.cuts).isdisjoint(("snr", "good_fraction"))
    for name, text in (spec.labels.columns | spec.labels.flagged).items():
        assert parse(text, name).names


def test_every_model_has_a_training_spec() -> None:
    specs = (load(path, TrainSpec) for path in (ROOT / "jobs" / "train").glob("*.toml"))
    assert {spec.model.name for spec in specs} == {*MODELS}


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "train").glob("*.toml")), ids=lambda path: path.stem)
def test_a_training_spec_asks_for_what_its_model_needs(path: Path) -> None:
    spec = load(path, TrainSpec)
    survey, given = survey_of(spec.survey), {name for table in spec.auxiliary for name in table.columns}
    architecture = MODELS[spec.model.name]
    handshake(architecture, survey.name, survey.spectrograph, survey.fills | given)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "cluster" / "profiles").glob("*.toml")), ids=lambda path: path.stem
)
def test_profiles(path: Path) -> None:
    assert load(path, Profile).runtime
