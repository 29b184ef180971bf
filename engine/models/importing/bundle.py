"""Imported weights, what is known of their training, and who published them -> a bundle."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.columns import describe_label
from engine.models.architecture import Architecture
from engine.models.arrays import check_arrays, expected_arrays
from engine.models.bundle import WEIGHTS, save_bundle
from engine.models.card import CalibrationCard, Card, LabelCard, LimitsCard
from engine.models.importing.limits import TrainingLimits
from engine.models.importing.weights import Weights
from engine.types import Calibration, Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a card says of a bundle beside its numbers."""

    name: str
    licence: str
    lineage: Mapping[str, Any]


def write_imported(
    folder: Path,
    about: About,
    architecture: Architecture,
    weights: Weights,
    *,
    limits: TrainingLimits | None,
    calibrations: Mapping[str, Calibration],
) -> Card:
    """Write the bundle and return its card; without `calibrations` its errors are raw.

    Without `limits` the weights bring scalers of their own, and nothing tells the range of the training set.
    """
    card = _card(about, architecture, weights, limits, calibrations)
    scalers = limits.scalers(architecture.input.pixels) if limits else weights.scalers
    arrays: dict[str, np.ndarray] = dict(scalers)
    for i, member in enumerate(weights.members):
        arrays |= {f"network.{i}.{name}": array for name, array in member.items()}
    with torch.device("meta"):
        network = architecture.build(weights.hyper, architecture.inputs, card.outputs)
    check_arrays(str(folder / WEIGHTS), arrays, expected_arrays(card, network, architecture))
    return save_bundle(folder, card, arrays)


def _card(
    about: About,
    architecture: Architecture,
    weights: Weights,
    limits: TrainingLimits | None,
    calibrations: Mapping[str, Calibration],
) -> Card:
    ranges = {limit.name: limit for limit in limits.labels} if limits else {}
    beside = limits.extras if limits else ()
    limited = {extra.name for extra in architecture.extras if extra.limited}
    return Card(
        name=about.name,
        architecture=architecture.name,
        hyper=weights.hyper.model_dump(mode="json"),
        members=len(weights.members),
        licence=about.licence,
        lineage={"format": weights.format, **about.lineage},
        sampling=architecture.sampling if calibrations else None,
        labels=tuple(_label(name, ranges.get(name), calibrations.get(name)) for name in architecture.labels),
        limits=tuple(LimitsCard(**asdict(limit)) for limit in beside if limit.name in limited),
        weights_sha256="",
    )


def _label(name: str, limit: Limits | None, calibration: Calibration | None) -> LabelCard:
    unit, _, description = describe_label(name)
    return LabelCard(
        name=name,
        unit=unit,
        description=description,
        low=limit.low if limit else None,
        high=limit.high if limit else None,
        calibration=CalibrationCard(**asdict(calibration)) if calibration else None,
    )
