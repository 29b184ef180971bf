"""train(spec): from a survey and a label table to a calibrated bundle."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from engine.auxiliary import given_names, open_tables
from engine.errors import PlanError, SpecError
from engine.models import MODELS
from engine.models.architecture import Architecture, handshake, other_labels
from engine.models.bundle import check_place, save_bundle
from engine.models.card import Card, DerivedCard, LabelCard, LimitsCard, ThresholdCard
from engine.spec import Frozen
from engine.support import TrainingSet
from engine.surveys import survey_of
from engine.toml import complaints, strictly
from engine.train.checks import check_stars
from engine.train.dataset import PARTS, LabelledSpectra, OnShard, read_training_set
from engine.train.loop import Epoch, fit, to_tensors
from engine.train.losses import LOSSES
from engine.train.remember import remember, remembered_arrays
from engine.train.scalers import fit_scalers
from engine.train.spec import TrainSpec
from engine.train.validate import Fitted, derived_labels, judge


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What a training left behind."""

    bundle: Path
    card: Card
    counts: dict[str, int]
    history: list[Epoch]


def train(
    spec: TrainSpec,
    *,
    on_shard: OnShard,
    on_epoch: Callable[[Epoch], None],
) -> TrainReport:
    """Read, fit, calibrate and write a bundle; InputError, with the remedy, before the first epoch.

    The best epoch is chosen on the validation stars, errors are calibrated on the calibration stars,
    and the card reports on the test stars, which nothing else has seen.
    """
    architecture, hyper = _architecture(spec)
    survey = survey_of(spec.survey)
    tables = open_tables(spec.auxiliary, survey.columns)
    given = survey.fills.union(given_names(tables))
    handshake(architecture, survey.name, survey.spectrograph, given)
    check_place(spec.bundle.out)
    stars, counts = read_training_set(spec, survey, architecture, tables, on_shard)
    counts |= {part: int((stars.part_N == i).sum()) for i, part in enumerate(PARTS)}
    check_stars(spec, stars)
    fitted, history = _fit(spec, architecture, hyper, stars, on_epoch)
    card = _card(spec, hyper, counts, history, fitted, judge(spec, fitted, stars))
    return TrainReport(
        bundle=spec.bundle.out,
        card=save_bundle(spec.bundle.out, card, _arrays(fitted)),
        counts=counts,
        history=history,
    )


def _architecture(spec: TrainSpec) -> tuple[Architecture, Frozen]:
    if spec.model.name not in MODELS:
        raise PlanError(f"model.name: {spec.model.name!r} is unknown; known: {', '.join(MODELS)}")
    architecture = MODELS[spec.model.name]
    if problem := other_labels(architecture, spec.labels.names):
        raise PlanError(f"labels.names: {problem}")
    defaults = architecture.hyper
    try:
        return architecture, strictly(defaults.model_dump() | spec.model.hyper, type(defaults))
    except ValidationError as error:
        raise SpecError(f"model.hyper:\n{complaints(error, type(defaults))}") from None


def _fit(
    spec: TrainSpec,
    architecture: Architecture,
    hyper: Frozen,
    stars: LabelledSpectra,
    on_epoch: Callable[[Epoch], None],
) -> tuple[Fitted, list[Epoch]]:
    """Scalers from the training stars alone, then the network."""
    training = stars.part("train")
    scalers = fit_scalers(architecture, training)
    torch.manual_seed(spec.training.seed)
    network = architecture.build(hyper, architecture.inputs, len(spec.labels.names))
    floor_L = np.array([spec.labels.error_floor.get(name, 0.0) for name in spec.labels.names], np.float32)
    parts = (to_tensors(part, scalers, floor_L) for part in (training, stars.part("validation")))
    loss = LOSSES[spec.training.loss or architecture.loss]
    history = fit(
        network,
        *parts,
        settings=spec.training,
        loss=loss,
        penalty=lambda weights: architecture.penalty(weights, hyper),
        on_epoch=on_epoch,
    )
    fitted = Fitted(
        networks=(network.eval().requires_grad_(False),),
        sampling=spec.sampling or architecture.sampling,
        scalers=scalers,
        known=TrainingSet(),
    )
    return replace(fitted, known=remember(architecture, fitted, stars)), history


def _arrays(fitted: Fitted) -> dict[str, np.ndarray]:
    arrays = {
        f"network.{member}.{name}": value.numpy()
        for member, network in enumerate(fitted.networks)
        for name, value in network.state_dict().items()
    }
    for name, scaler in (("input", fitted.scalers.inputs), ("label", fitted.scalers.labels)):
        arrays |= {f"{name}.{part}": getattr(scaler, part) for part in ("centre", "scale")}
    return arrays | remembered_arrays(fitted.known)


def _card(
    spec: TrainSpec,
    hyper: Frozen,
    counts: dict[str, int],
    history: list[Epoch],
    fitted: Fitted,
    labels: tuple[LabelCard, ...],
) -> Card:
    best = min(history, key=lambda epoch: epoch.validation_loss)
    lineage: dict[str, Any] = {
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "stars": counts,
        "best_epoch": best.number,
        "validation_loss": best.validation_loss,
    }
    return Card(
        name=spec.bundle.name,
        architecture=spec.model.name,
        hyper=hyper.model_dump(mode="json"),
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
