"""train(spec): from a survey and a label table to a calibrated bundle."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from engine.errors import PlanError, SpecError
from engine.models.architecture import Architecture, other_labels
from engine.models.bundle import check_place, save_bundle
from engine.models.card import Card, DerivedCard, LabelCard, LimitsCard, ThresholdCard
from engine.spec import Frozen, digest
from engine.support import TrainingSet
from engine.toml import complaints, strictly
from engine.train.checkpoint import Identity, code_version, refuse_others
from engine.train.checks import check_stars
from engine.train.crossmatch import network_of
from engine.train.dataset import PARTS, LabelledSpectra, OnShard, read_training_set
from engine.train.loop import OnEpoch
from engine.train.members import (
    Learn,
    Learnt,
    Lesson,
    forget_checkpoints,
    learn_here,
    lineage_of,
    networks_of,
)
from engine.train.remember import remember, remembered_arrays
from engine.train.report.validation import Validation
from engine.train.scalers import Scalers, fit_scalers
from engine.train.search import Try, searched
from engine.train.spec import TrainSpec
from engine.train.state import Epoch
from engine.train.tensors import digest_of, to_tensors
from engine.train.tested import floors, validation_of
from engine.train.validate import (
    Fitted,
    calibrated_labels,
    derived_labels,
    label_cards,
)
from engine.types import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What a training left behind."""

    bundle: Path
    card: Card
    counts: dict[str, int]
    history: list[Epoch]
    validation: Validation


def train(
    spec: TrainSpec,
    *,
    on_shard: OnShard,
    on_epoch: OnEpoch,
    learn: Learn = learn_here,
    attempt: Try | None = None,
) -> TrainReport:
    """Read, fit, calibrate and write a bundle; InputError, with the remedy, before the first epoch.

    Weights are chosen on the validation stars, errors are calibrated on the calibration stars, and the card
    reports on the test stars, which nothing else has seen. `learn` says where networks are trained,
    `attempt` where the trials of a search are. A training that was interrupted goes on from its last epoch;
    what it needs for that is in `place_of(spec)`.
    """
    architecture, hyper = check_training(spec)
    if spec.search is not None and attempt is None:
        raise PlanError('[search] needs `--profile` with a profile of runtime = "ray_data"')
    refuse_others(sorted(place_of(spec).glob("member-*")), _weights_digest(spec, hyper))
    stars, counts = _stars(spec, on_shard)
    scalers = fit_scalers(architecture, stars.part("train"))
    lesson, found = _lesson(spec, hyper, stars, scalers), None
    if spec.search is not None and attempt is not None:
        lesson, found = searched(lesson, spec.search, attempt)
    learnt = learn(lesson, on_epoch)
    fitted = _fitted(spec, architecture, lesson, learnt, scalers, stars)
    history = [epoch for item in learnt for epoch in item.history]
    labels = calibrated_labels(spec, fitted, stars)
    validation = validation_of(spec, fitted, stars, labels, history)
    lineage = _lineage(spec, lesson, counts, learnt, found) | _tested(validation)
    card = _card(spec, lesson, fitted, label_cards(labels, validation), lineage)
    card = save_bundle(spec.bundle.out, card, _arrays(fitted))
    forget_checkpoints(lesson)
    return TrainReport(
        bundle=spec.bundle.out,
        card=card,
        counts=counts,
        history=history,
        validation=validation,
    )


def check_training(spec: TrainSpec) -> tuple[Architecture, Frozen]:
    """The network and its hyper-parameters; InputError for what cannot work, whatever the stars are."""
    found = _architecture(spec)
    check_place(spec.bundle.out)
    return found


def _stars(spec: TrainSpec, on_shard: OnShard) -> tuple[LabelledSpectra, dict[str, int]]:
    """The stars to learn from, and how many were left after each step; PlanError where they cannot teach."""
    stars, counts = read_training_set(spec, on_shard)
    check_stars(spec, stars)
    return stars, counts | {part: int((stars.part_N == i).sum()) for i, part in enumerate(PARTS)}


def place_of(spec: TrainSpec) -> Path:
    """The training's own folder beside its bundle: logs, and checkpoints until the bundle is written."""
    out = spec.bundle.out.resolve()
    return out.with_name(f"{out.name}-training")


def _weights_digest(spec: TrainSpec, hyper: Frozen) -> str:
    """Of all in a spec that weights depend on beside the training set's numbers, which have their own."""
    records = (hyper, spec.training, spec.search or Frozen())
    return digest([spec.model.name, spec.labels.names, *(item.model_dump(mode="json") for item in records)])


def _architecture(spec: TrainSpec) -> tuple[Architecture, Frozen]:
    architecture = network_of(spec)
    hyper = _hyper(spec, architecture)
    if problem := other_labels(architecture, hyper, spec.labels.names):
        raise PlanError(f"labels.names: {problem}")
    if spec.training.velocity_error > 0 and not isinstance(architecture.input.grid, Grid):
        raise PlanError(f"training.velocity_error: {architecture.name} sees no wavelengths; leave it out")
    return architecture, hyper


def _hyper(spec: TrainSpec, architecture: Architecture) -> Frozen:
    defaults = architecture.hyper
    try:
        return strictly(defaults.model_dump() | spec.model.hyper, type(defaults))
    except ValidationError as error:
        raise SpecError(f"model.hyper:\n{complaints(error, type(defaults))}") from None


def _lesson(spec: TrainSpec, hyper: Frozen, stars: LabelledSpectra, scalers: Scalers) -> Lesson:
    """What is to be learnt, from training stars; validation stars choose."""
    training, validation = (
        to_tensors(stars.part(name), scalers, floors(spec)) for name in ("train", "validation")
    )
    return Lesson(
        model=spec.model.name,
        hyper=hyper,
        names=spec.labels.names,
        settings=spec.training,
        train=training,
        validation=validation,
        place=place_of(spec),
        identity=Identity(
            spec=_weights_digest(spec, hyper), data=digest_of(training, validation), code=code_version()
        ),
    )


def _fitted(
    spec: TrainSpec,
    architecture: Architecture,
    lesson: Lesson,
    learnt: Sequence[Learnt],
    scalers: Scalers,
    stars: LabelledSpectra,
) -> Fitted:
    """The networks that are kept, with what they know of their stars."""
    fitted = Fitted(
        networks=networks_of(lesson, learnt),
        sampling=spec.sampling or architecture.sampling,
        scalers=scalers,
        known=TrainingSet(),
    )
    return replace(fitted, known=remember(architecture, fitted, stars))


def _arrays(fitted: Fitted) -> dict[str, np.ndarray]:
    arrays = {
        f"network.{member}.{name}": value.numpy()
        for member, network in enumerate(fitted.networks)
        for name, value in network.state_dict().items()
    }
    for name, scaler in (("input", fitted.scalers.inputs), ("label", fitted.scalers.labels)):
        arrays |= {f"{name}.{part}": getattr(scaler, part) for part in ("centre", "scale")}
    return arrays | remembered_arrays(fitted.known)


def _tested(validation: Validation) -> dict[str, Any]:
    """For the card: chi-square on test stars at the epoch that validation stars chose, where it is known."""
    return {} if validation.chi2 is None else {"test_chi2": validation.chi2}


def _lineage(
    spec: TrainSpec,
    lesson: Lesson,
    counts: dict[str, int],
    learnt: Sequence[Learnt],
    found: dict[str, Any] | None,
) -> dict[str, Any]:
    """For the card: where the weights come from."""
    best = min((e for item in learnt for e in item.history), key=lambda epoch: epoch.validation_loss)
    lineage: dict[str, Any] = {
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "stars": counts,
        "best_epoch": best.number,
        "validation_loss": best.validation_loss,
        "members": lineage_of(learnt, lesson.settings),
    }
    return lineage if found is None else lineage | {"search": found}


def _card(
    spec: TrainSpec,
    lesson: Lesson,
    fitted: Fitted,
    labels: tuple[LabelCard, ...],
    lineage: dict[str, Any],
) -> Card:
    return Card(
        name=spec.bundle.name,
        architecture=spec.model.name,
        hyper=lesson.hyper.model_dump(mode="json"),
        members=len(fitted.networks),
        licence=spec.bundle.licence,
        lineage=lineage,
        sampling=fitted.sampling,
        labels=labels,
        derived=tuple(
            DerivedCard(name=d.name, minuend=d.minuend, subtrahend=d.subtrahend)
            for d in derived_labels(spec.labels.names)
        ),
        limits=tuple(LimitsCard(**asdict(limit)) for limit in fitted.known.limits),
        thresholds={name: ThresholdCard(**asdict(limit)) for name, limit in fitted.known.thresholds.items()},
        weights_sha256="",
    )
