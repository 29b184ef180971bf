"""Every spec of jobs/train/ on a simulated survey: cross-match, some steps, a bundle, a catalog.

Changed are places, epochs, batch, the size of ensembles and the number of draws, and nothing else: networks
have their published size.
"""

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file

from engine.models import MODELS
from engine.models.bundle import load_card
from engine.simulate import SIMULATORS, simulate_desi
from engine.surveys import survey_of
from engine.toml import load
from engine.train import TrainReport, train
from engine.train.losses import LOSSES, Loss
from engine.train.schedule import optimiser_of
from engine.train.spec import TrainSpec
from engine.train.store import open_store
from tests.flows.catalogs import has
from tests.flows.small_bundles import labelled
from tests.published_settings import PARAMETERS, PUBLISHED
from tests.spec_inputs import with_inputs

SPECS = sorted((Path(__file__).parents[2] / "jobs" / "train").glob("*.toml"))
# One star in ten has the S/N of 50 that the DESI networks ask for; AstroNN's authors calibrate and test
# nothing, so that their specs keep one star in twenty for each.
STARS, MORE_STARS, SEED = 120, {"desi": 900, "apogee": 240}, 5
FEW, DRAWS = {"epochs": 2, "batch": 16, "members": 3}, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A spec as it stands in its file, as it was run, and what came of it."""

    name: str
    written: dict[str, Any]
    spec: TrainSpec
    report: TrainReport
    losses: list[str]
    optimisers: list[torch.optim.Optimizer]


class Noted(dict[str, Loss]):
    """Losses that note which of them was asked for."""

    def __init__(self) -> None:
        super().__init__(LOSSES)
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> Loss:
        self.asked.append(name)
        return super().__getitem__(name)


@pytest.fixture(scope="session")
def truth_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The truth table of a simulated survey, by name; each is simulated once."""

    @cache
    def make(name: str) -> Path:
        root = tmp_path_factory.mktemp(f"specs-{name}") / "survey"
        simulate = partial(simulate_desi, resolution=False) if name == "desi" else SIMULATORS[name]
        return simulate(root, stars=MORE_STARS.get(name, STARS), seed=SEED)

    return make


@pytest.fixture(params=SPECS, ids=lambda path: path.stem, scope="module")
def done(
    request: pytest.FixtureRequest,
    truth_of: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Done:
    """A spec that was trained for some steps."""
    folder = tmp_path_factory.mktemp(request.param.stem)
    spec = shortened(load(request.param, TrainSpec), truth_of, folder)
    losses, optimisers = Noted(), []

    def noted(*given: Any) -> torch.optim.Optimizer:
        optimisers.append(optimiser_of(*given))
        return optimisers[-1]

    with pytest.MonkeyPatch.context() as patch:
        # So few stars cannot calibrate anything.
        patch.setattr("engine.train.checks.LEAST_STARS", 1)
        patch.setattr("engine.train.members.LOSSES", losses)
        patch.setattr("engine.train.loop.optimiser_of", noted)
        patch.setenv("ABUNDANT_CACHE", str(folder / "cache"))
        torch.set_num_threads(1)
        report = train(spec, on_shard=Mock(), on_epoch=Mock())
    return Done(
        name=request.param.stem,
        written=tomllib.loads(request.param.read_text()),
        spec=spec,
        report=report,
        losses=losses.asked,
        optimisers=optimisers,
    )


def shortened(spec: TrainSpec, truth_of: Callable[[str], Path], folder: Path) -> TrainSpec:
    """The spec with other places, a few epochs of small batches, and few draws."""
    least = {name: min(few, getattr(spec.training, name)) for name, few in FEW.items()}
    training = spec.training.model_copy(update=least)
    bundle = spec.bundle.model_copy(update={"out": folder / "bundle"})
    sampling = spec.sampling or MODELS[spec.model.name].sampling
    sampling = sampling.model_copy(update={"draws": min(DRAWS, sampling.draws)})
    spec = spec.model_copy(update={"training": training, "sampling": sampling, "bundle": bundle})
    return with_inputs(spec, truth_of(spec.survey.name), folder / "inputs")


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_its_authors_published_is_what_it_says(name: str) -> None:
    [path] = [path for path in SPECS if path.stem == name]
    training = tomllib.loads(path.read_text())["training"]
    assert {key: training[key] for key in PUBLISHED[name]} == PUBLISHED[name]


def test_it_is_trained_as_it_says(done: Done) -> None:
    """The loss and the optimiser that were used, and what card and log say of them."""
    written, settings = done.written.get("training", {}), done.spec.training
    assert {*done.losses} == {written.get("loss", MODELS[done.spec.model.name].loss)}
    for optimiser in done.optimisers:
        assert type(optimiser).__name__.lower() == settings.optimiser
        assert optimiser.defaults["eps"] == settings.eps
    card = load_card(done.report.bundle)
    told = card.lineage["spec"]["training"]
    kept = written.keys() - FEW.keys()
    assert {name: told[name] for name in kept} == {name: written[name] for name in kept}
    assert card.hyper == {**card.hyper, **done.written["model"].get("hyper", {})}
    for member in range(settings.members):
        log = done.report.bundle.with_name("bundle-training") / f"member-{member}" / "log.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [line["epoch"] for line in lines] == [1, 2]
        first, second = (line["learning_rate"] for line in lines)
        assert first == settings.learning_rate
        assert (second < first) == (settings.schedule == "cosine")
        losses = np.array([[line["train_loss"], line["validation_loss"]] for line in lines])
        assert np.isfinite(losses).all()
        assert (losses[0] != losses[1]).all()


def test_its_cuts_and_labels_are_those_of_the_set_and_of_the_card(done: Done) -> None:
    about = open_store(done.report.bundle.with_name("bundle-stars")).about
    own, steps = list(done.spec.cuts.named), about["steps"]
    assert [step["name"] for step in steps[3 : 3 + len(own)]] == own
    assert not own or steps[2 + len(own)]["spectra"] < steps[2]["spectra"]
    assert all(part["spectra"] > 0 for part in about["parts"].values())
    card, names = load_card(done.report.bundle), done.written["labels"]["names"]
    assert [label.name for label in card.labels][: len(names)] == names
    assert all(label.calibration is not None for label in card.labels)
    training = done.spec.training
    assert card.members == (training.members - 1 if training.keep_share < 1 else training.members)


def test_its_bundle_labels_the_stars_that_it_learnt_from(done: Done, tmp_path: Path) -> None:
    rows = labelled(
        done.spec.survey, done.report.bundle, tmp_path, auxiliary=done.spec.auxiliary, sampling=None
    )
    keys = [key.name for key in survey_of(done.spec.survey).keys]
    store = open_store(done.report.bundle.with_name("bundle-stars"))
    files = [pq.read_table(store.folder / name, columns=keys) for name in store.about["files"]]
    learnt = pa.concat_tables(files)
    # What has no value in any row, such as a visit of coadds, joins nothing.
    keys = [key for key in keys if learnt[key].null_count < len(learnt)]
    learnt = learnt.select(keys)
    found = rows.join(learnt, keys, join_type="inner")
    assert len(found) == len(learnt) == done.report.counts["after_cuts"]
    assert not has(found, "NO_RESULT").any()
    for label in load_card(done.report.bundle).labels:
        values, errors = (found[name].to_numpy() for name in (label.name, f"e_{label.name}"))
        assert np.isfinite(values).all()
        assert values.std() > 0
        assert np.isfinite(errors).all()
        assert (errors >= 0).all()
    assert not has(rows, "UNCALIBRATED").any()


def test_its_network_is_as_large_as_the_published_one(done: Done) -> None:
    arrays = load_file(done.report.bundle / "model.safetensors")
    own = [array for name, array in arrays.items() if name.startswith("network.0.") and "sees" not in name]
    size = sum(array.size for array in own)
    assert size == PARAMETERS.get(done.name, size), "of others it was not published"
