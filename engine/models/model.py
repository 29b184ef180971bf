"""A fitted model, ready to use on one survey."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pydantic import ValidationError

from engine.columns import catalog_columns, describe_label
from engine.distance import distance_labels
from engine.draw import Network
from engine.errors import BundleError
from engine.estimate import Labelling
from engine.models import MODELS
from engine.models.architecture import Architecture, Verdict, other_labels
from engine.models.arrays import check_arrays, expected_arrays
from engine.models.bundle import WEIGHTS, bundle_digest, load_card, load_weights
from engine.models.card import Card, ThresholdCard
from engine.models.inputs import scale_inputs
from engine.prepare.scale import Affine
from engine.rounding import described_as_rounded
from engine.spec import Frozen, Sampling
from engine.support import Cloud, Subspace, Threshold, TrainingSet, neighbours_of
from engine.toml import complaints, strictly
from engine.types import (
    Bits,
    Calibration,
    Column,
    Derived,
    Estimates,
    Floats,
    Inputs,
    Label,
    Limits,
    Spectrograph,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An architecture with what was fitted: scalers, labels with ranges and calibration.

    `labels` holds the network's outputs, then the derived labels, then distances; `columns` are those of a
    catalog that this model makes of this survey, with `rounded` numbers or not.
    """

    architecture: Architecture
    spectrograph: Spectrograph
    input_scale: Affine
    labelling: Labelling
    labels: tuple[Label, ...]
    columns: tuple[Column, ...]
    known: TrainingSet
    rounded: bool = False

    def prepare(self, spectra: pa.Table, device: torch.device | None = None) -> Inputs:
        """What the network sees of N spectra, and what preparing them found out."""
        architecture = self.architecture
        normalised = architecture.normalise(spectra, self.spectrograph, architecture.input, device)
        return scale_inputs(normalised, architecture.beside(spectra), architecture.input, self.input_scale)

    def publish(
        self, spectra: pa.Table, estimates: Estimates | None, sides: Mapping[str, Bits]
    ) -> Mapping[str, pa.Array]:
        """What the network's authors publish beside its labels; `estimates` is None for unreadable rows."""
        published = self.architecture.published
        if published is None:
            return {}
        names = tuple(label.name for label in self.labels)
        return published.judge(Verdict(spectra=spectra, names=names, estimates=estimates, sides=sides))

    @property
    def sides(self) -> tuple[str, ...]:
        """What has a training range: labels, then limited extras."""
        return tuple(item.name for item in (*self.labels, *self.known.limits))


def load_model(
    folder: Path,
    *,
    keys: tuple[Column, ...],
    spectrograph: Spectrograph,
    sampling: Sampling,
    sha256: str | None = None,
    joined: tuple[Column, ...] = (),
    rounded: bool = False,
) -> tuple[Model, tuple[Network, ...]]:
    """The model of a bundle and its trained networks; BundleError when the parts do not fit together.

    `keys`, `spectrograph` and `joined` are what the survey and the auxiliary tables give; `sha256` is that of
    the card, where another bundle must not take its place. `rounded`: see `engine/rounding.py`.
    """
    card = load_card(folder)
    arrays = load_weights(folder, card)
    if sha256 not in (None, bundle_digest(folder)):
        raise BundleError(f"{folder} is not the bundle that was planned with: put it back, or plan again")
    architecture = architecture_of(card)
    networks = tuple(_skeleton(card, architecture) for _ in range(card.members))
    check_arrays(str(folder / WEIGHTS), arrays, expected_arrays(card, networks[0], architecture))
    model = _model(card, arrays, architecture, keys, spectrograph, sampling, joined)
    if rounded:
        columns = described_as_rounded(model.columns, model.labels)
        model = replace(model, columns=columns, rounded=True)
    return model, tuple(_filled(network, arrays, member) for member, network in enumerate(networks))


def _model(
    card: Card,
    arrays: dict[str, np.ndarray],
    architecture: Architecture,
    keys: tuple[Column, ...],
    spectrograph: Spectrograph,
    sampling: Sampling,
    joined: tuple[Column, ...],
) -> Model:
    labelling = Labelling(
        scale=Affine(centre=arrays["label.centre"], scale=arrays["label.scale"]),
        labels=labels_of(card, calibrated=card.sampling == sampling),
        derived=tuple(Derived(**item.model_dump()) for item in card.derived),
        noise=sampling.noise,
    )
    labels = (*labelling.labels, *(distance_labels() if architecture.distances else ()))
    input_scale = Affine(centre=arrays["input.centre"], scale=arrays["input.scale"])
    known = _known(card, arrays, input_scale)
    published = architecture.published.columns if architecture.published else ()
    return Model(
        architecture=architecture,
        spectrograph=spectrograph,
        input_scale=input_scale,
        labelling=labelling,
        labels=labels,
        columns=catalog_columns(keys, labels, limits=known.limits, joined=joined, published=published),
        known=known,
    )


def architecture_of(card: Card) -> Architecture:
    """The table's entry for a card; BundleError when there is none, or it takes other extras."""
    if card.architecture not in MODELS:
        known = ", ".join(MODELS)
        raise BundleError(f"{card.name}: architecture {card.architecture!r} is unknown; known: {known}")
    architecture = MODELS[card.architecture]
    limited = [extra.name for extra in architecture.extras if extra.limited]
    if unknown := [limits.name for limits in card.limits if limits.name not in limited]:
        raise BundleError(
            f"{card.name}: limits of {', '.join(unknown)}, which {architecture.name} does not take; "
            f"it takes {', '.join(limited) or 'pixels alone'}"
        )
    names = [label.name for label in card.labels[: card.outputs]]
    if problem := other_labels(architecture, _hyper(card, architecture), names):
        raise BundleError(f"{card.name}: {problem}")
    return architecture


def _hyper(card: Card, architecture: Architecture) -> Frozen:
    """The card's hyper-parameters; BundleError for those that the architecture cannot have."""
    try:
        return strictly(card.hyper, type(architecture.hyper))
    except ValidationError as error:
        complaint = complaints(error, type(architecture.hyper))
        raise BundleError(f"{card.name}: hyper-parameters on its card:\n{complaint}") from None


def labels_of(card: Card, calibrated: bool) -> tuple[Label, ...]:
    """The labels of a card, without their calibration where it does not apply."""
    labels = []
    for item in card.labels:
        unit, ucd, _ = describe_label(item.name)
        fitted = item.calibration if calibrated else None
        labels.append(
            Label(
                name=item.name,
                unit=unit,
                ucd=ucd,
                description=item.description,
                low=item.low,
                high=item.high,
                calibration=None if fitted is None else Calibration(**fitted.model_dump()),
            )
        )
    return tuple(labels)


def _known(card: Card, arrays: dict[str, np.ndarray], input_scale: Affine) -> TrainingSet:
    """What the bundle has of its training stars; each part only with a threshold of what it is for."""
    points_TL = arrays.get("support.label_points")
    return TrainingSet(
        limits=tuple(Limits(**item.model_dump()) for item in card.limits),
        subspace=_subspace(arrays, input_scale),
        labels=_cloud(arrays, "label"),
        neighbours=None if points_TL is None else neighbours_of(points_TL),
        hidden=_cloud(arrays, "hidden"),
        thresholds={name: _threshold(limit) for name, limit in card.thresholds.items()},
    )


def _subspace(arrays: dict[str, np.ndarray], input_scale: Affine) -> Subspace | None:
    if "support.mean" not in arrays:
        return None
    return Subspace(
        mean_P=arrays["support.mean"],
        components_MP=arrays["support.components"],
        scatter_P=arrays["support.scatter"],
        scale_P=finite_scale(input_scale)[: len(arrays["support.mean"])],
    )


def _cloud(arrays: dict[str, np.ndarray], name: str) -> Cloud | None:
    if f"support.{name}_centre" not in arrays:
        return None
    return Cloud(centre_L=arrays[f"support.{name}_centre"], whitener_LL=arrays[f"support.{name}_whitener"])


def _threshold(limit: float | ThresholdCard) -> Threshold:
    if isinstance(limit, ThresholdCard):
        return Threshold(snr=limit.snr, limit=limit.limit)
    return Threshold(snr=(1.0,), limit=(limit,))


def finite_scale(input_scale: Affine) -> Floats:
    """The scale of each input, 0 for those that the model does not use (an infinite scale)."""
    return np.where(np.isfinite(input_scale.scale), input_scale.scale, np.float32(0))


def _skeleton(card: Card, architecture: Architecture) -> Network:
    """The card's network without memory for its weights; BundleError for hyper-parameters it cannot have."""
    try:
        with torch.device("meta"):
            return architecture.build(_hyper(card, architecture), architecture.inputs, card.outputs)
    except ValueError as error:
        raise BundleError(f"{card.name}: {error}") from error


def _filled(network: Network, arrays: dict[str, np.ndarray], member: int) -> Network:
    """A skeleton with the weights of one member of the ensemble."""
    state = {
        name: torch.from_numpy(arrays[f"network.{member}.{name}"].copy()) for name in network.state_dict()
    }
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)
