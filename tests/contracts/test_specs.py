"""Every spec and profile that the repository ships can be read, and names what is registered."""

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.columns import describe_label
from engine.models import MODELS
from engine.models.architecture import handshake, other_labels
from engine.plan import make_plan
from engine.runtime.worker import read_batch, work_of
from engine.spec import Profile, RunSpec, Sampling, SurveySpec
from engine.surveys import SURVEYS, survey_of
from engine.toml import load
from engine.train.cuts import named_columns
from engine.train.cuts_language import parse
from engine.train.spec import TrainSpec
from tests.bundles import write_bundle
from tests.spec_inputs import with_run_inputs

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "infer").glob("*.toml")), ids=lambda path: path.stem)
def test_run_specs(path: Path) -> None:
    assert load(path, RunSpec).survey.name in SURVEYS


@pytest.mark.parametrize("path", sorted((ROOT / "jobs" / "infer").glob("*.toml")), ids=lambda path: path.stem)
def test_a_run_spec_is_planned_on_files_like_the_survey_s(
    path: Path, simulated: Callable[[str], SurveySpec], tmp_path: Path
) -> None:
    """On a simulated survey of the same layout, with the network that the spec's bundle is trained with."""
    spec = load(path, RunSpec)
    truth = Path(simulated(spec.survey.name).root.removesuffix("/spectra"), "truth.parquet")
    bundle = write_bundle(
        tmp_path / "bundle", sampling=spec.sampling or Sampling(), architecture=_architecture(spec)
    )
    plan = make_plan(with_run_inputs(spec, truth, bundle, tmp_path / "beside"))
    assert plan.rows > 0
    assert not [task.shard.problem for task in plan.tasks if task.shard.problem]
    batch = read_batch(work_of(plan, Profile()), plan.tasks[0])
    assert batch.failure is None
    assert {name for table in spec.auxiliary for name in table.columns} <= {*batch.spectra.column_names}


def _architecture(spec: RunSpec) -> str:
    """The network of the training spec that makes a run's bundle."""
    specs = (load(path, TrainSpec) for path in (ROOT / "jobs" / "train").glob("*.toml"))
    [name] = [made.model.name for made in specs if made.bundle.out == spec.model.bundle]
    return name


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
