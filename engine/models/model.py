"""A fitted model, ready to use on one survey."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pydantic import ValidationError
from torch import nn

from engine.columns import catalog_columns, describe_label
from engine.errors import BundleError
from engine.models import MODELS
from engine.models.architecture import Architecture
from engine.models.arrays import check_arrays, expected_arrays
from engine.models.bundle import WEIGHTS, bundle_digest, load_card, load_weights
from engine.models.card import Card
from engine.prepare.scale import Affine
from engine.spec import Sampling
from engine.support import LEAST_GOOD_FRACTION, Subspace
from engine.toml import complaints, strictly
from engine.types import Column, Derived, Floats, Inputs, Label, Normalised, Spectrograph


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An architecture with what was fitted: scalers, labels with ranges and calibration.

    `labels` holds the network's outputs and then the derived labels; `columns` are those of a catalog
    that this model makes of this survey.
    """

    architecture: Architecture
    spectrograph: Spectrograph
    pixel_scale: Affine
    label_scale: Affine
    labels: tuple[Label, ...]
    derived: tuple[Derived, ...]
    columns: tuple[Column, ...]
    subspace: Subspace | None

    def prepare(self, spectra: pa.Table) -> Inputs:
        """What the network sees of N spectra, and what preparing them found out."""
        wanted = self.architecture.input
        return scale_inputs(self.architecture.normalise(spectra, self.spectrograph, wanted), self.pixel_scale)


def scale_inputs(spectra: Normalised, pixel_scale: Affine) -> Inputs:
    """Scaled pixels; missing ones sit at 0, the median star of the training set."""
    usable_N = spectra.good_fraction_N >= LEAST_GOOD_FRACTION
    x_NP = pixel_scale.apply(spectra.flux_NP)
    x_NP *= (spectra.ivar_NP > 0) & usable_N[:, None]
    return Inputs(x_NP=x_NP, usable_N=usable_N, spectra=spectra)


def load_model(
    folder: Path,
    *,
    keys: tuple[Column, ...],
    spectrograph: Spectrograph,
    sampling: Sampling,
    sha256: str | None = None,
    joined: tuple[Column, ...] = (),
) -> tuple[Model, tuple[nn.Sequential, ...]]:
    """The model of a bundle and its trained networks; BundleError when the parts do not fit together.

    `keys`, `spectrograph` and `joined` are what the survey and the auxiliary tables give; `sha256` is that of
    the card, where another bundle must not take its place.
    """
    card = load_card(folder)
    arrays = load_weights(folder, card)
    if sha256 not in (None, bundle_digest(folder)):
        raise BundleError(f"{folder} is not the bundle that was planned with: put it back, or plan again")
    architecture = architecture_of(card)
    networks = tuple(_skeleton(card, architecture) for _ in range(card.members))
    pixels = architecture.input.grid.pixels
    check_arrays(str(folder / WEIGHTS), arrays, expected_arrays(card, networks[0], pixels))
    labels = labels_of(card, calibrated=card.sampling == sampling)
    pixel_scale = Affine(centre=arrays["pixel.centre"], scale=arrays["pixel.scale"])
    model = Model(
        architecture=architecture,
        spectrograph=spectrograph,
        pixel_scale=pixel_scale,
        label_scale=Affine(centre=arrays["label.centre"], scale=arrays["label.scale"]),
        labels=labels,
        derived=tuple(Derived(**item.model_dump()) for item in card.derived),
        columns=catalog_columns(keys, labels, joined),
        subspace=_subspace(card, arrays, pixel_scale),
    )
    return model, tuple(_filled(network, arrays, member) for member, network in enumerate(networks))


def architecture_of(card: Card) -> Architecture:
    """The table's entry for a card; BundleError when this version has none."""
    if card.architecture not in MODELS:
        known = ", ".join(MODELS)
        raise BundleError(f"{card.name}: architecture {card.architecture!r} is unknown; known: {known}")
    return MODELS[card.architecture]


def labels_of(card: Card, calibrated: bool) -> tuple[Label, ...]:
    """The labels of a card, without their calibration where it does not apply."""
    labels = []
    for item in card.labels:
        unit, ucd, _ = describe_label(item.name)
        labels.append(
            Label(
                name=item.name,
                unit=unit,
                ucd=ucd,
                description=item.description,
                low=item.low,
                high=item.high,
                error_scale=item.error_scale if calibrated else None,
                error_floor=item.error_floor if calibrated else None,
            )
        )
    return tuple(labels)


def _subspace(card: Card, arrays: dict[str, np.ndarray], pixel_scale: Affine) -> Subspace | None:
    if card.support_threshold is None:
        return None
    return Subspace(
        mean_P=arrays["support.mean"],
        components_MP=arrays["support.components"],
        scatter_P=arrays["support.scatter"],
        scale_P=finite_scale(pixel_scale),
        threshold=card.support_threshold,
    )


def finite_scale(pixel_scale: Affine) -> Floats:
    """The scale of each pixel, 0 for those that the model does not use (an infinite scale)."""
    return np.where(np.isfinite(pixel_scale.scale), pixel_scale.scale, np.float32(0))


def _skeleton(card: Card, architecture: Architecture) -> nn.Sequential:
    """The card's network without memory for its weights; BundleError for hyper-parameters it cannot have."""
    try:
        hyper = strictly(card.hyper, type(architecture.hyper))
    except ValidationError as error:
        complaint = complaints(error, type(architecture.hyper))
        raise BundleError(f"{card.name}: hyper-parameters on its card:\n{complaint}") from None
    with torch.device("meta"):
        return architecture.build(hyper, architecture.input.grid.pixels, card.outputs)


def _filled(network: nn.Sequential, arrays: dict[str, np.ndarray], member: int) -> nn.Sequential:
    """A skeleton with the weights of one member of the ensemble."""
    state = {
        name: torch.from_numpy(arrays[f"network.{member}.{name}"].copy()) for name in network.state_dict()
    }
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)
