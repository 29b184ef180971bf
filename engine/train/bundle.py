"""train(spec): from a survey and a label table to a calibrated bundle."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from engine.errors import PlanError, SpecError
from engine.models import MODELS
from engine.models.architecture import Architecture, handshake
from engine.models.bundle import check_place, save_bundle
from engine.models.card import Card, DerivedCard, LabelCard
from engine.prepare.scale import fit_median_iqr
from engine.spec import Frozen, TrainSpec
from engine.surveys import survey_of
from engine.toml import complaints, strictly
from engine.train.checks import check_stars
from engine.train.dataset import PARTS, LabelledSpectra, OnShard, read_training_set
from engine.train.loop import Epoch, fit, to_tensors
from engine.train.subspace import fit_subspace
from engine.train.validate import Fitted, derived_labels, judge

# A pixel that fewer training stars have, at the ends of the grid after the shift to rest, is not used.
RARE_PIXEL = 0.05


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
    handshake(architecture, survey.name, survey.spectrograph)
    check_place(spec.bundle.out)
    stars, counts = read_training_set(spec, survey, architecture, on_shard)
    counts |= {part: int((stars.part_N == i).sum()) for i, part in enumerate(PARTS)}
    check_stars(spec, stars)
    fitted, history = _fit(spec, architecture, hyper, stars, on_epoch)
    card = _card(spec, hyper, counts, history, judge(spec, fitted, stars))
    card = card.model_copy(update={"support_threshold": fitted.subspace.threshold})
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
    pixel_scale = fit_median_iqr(training.flux_NP, training.ivar_NP > 0, least=1e-3, rare=RARE_PIXEL)
    label_scale = fit_median_iqr(training.label_NL, training.known_NL, least=1e-6, rare=0.0)
    torch.manual_seed(spec.training.seed)
    network = architecture.build(hyper, architecture.input.grid.pixels, len(spec.labels.names))
    floor_L = np.array([spec.labels.error_floor.get(name, 0.0) for name in spec.labels.names], np.float32)
    parts = (
        to_tensors(part, pixel_scale, label_scale, floor_L) for part in (training, stars.part("validation"))
    )
    history = fit(network, *parts, settings=spec.training, on_epoch=on_epoch)
    subspace = fit_subspace(training, stars.part("calibration"), pixel_scale)
    fitted = Fitted(
        network=network.eval(), pixel_scale=pixel_scale, label_scale=label_scale, subspace=subspace
    )
    return fitted, history


def _arrays(fitted: Fitted) -> dict[str, np.ndarray]:
    weights = {f"network.0.{name}": value.numpy() for name, value in fitted.network.state_dict().items()}
    support = {
        name: getattr(fitted.subspace, f"{name}_{axes}")
        for name, axes in (("mean", "P"), ("components", "MP"), ("scatter", "P"))
    }
    weights |= {f"support.{name}": array for name, array in support.items()}
    scalers = {"pixel": fitted.pixel_scale, "label": fitted.label_scale}
    return weights | {
        f"{name}.{part}": getattr(scaler, part)
        for name, scaler in scalers.items()
        for part in ("centre", "scale")
    }


def _card(
    spec: TrainSpec,
    hyper: Frozen,
    counts: dict[str, int],
    history: list[Epoch],
    labels: tuple[LabelCard, ...],
) -> Card:
    best = min(history, key=lambda epoch: epoch.validation_loss)
    lineage: dict[str, Any] = {
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
        "stars": counts,
        "best_epoch": best.number,
        "validation_chi2": best.validation_loss,
    }
    return Card(
        name=spec.bundle.name,
        architecture=spec.model.name,
        hyper=hyper.model_dump(mode="json"),
        licence=spec.bundle.licence,
        lineage=lineage,
        sampling=spec.sampling,
        labels=labels,
        derived=tuple(
            DerivedCard(name=d.name, minuend=d.minuend, subtrahend=d.subtrahend)
            for d in derived_labels(spec.labels.names)
        ),
        weights_sha256="",
    )
