"""Bundles without training: random weights, plausible scalers, fixed calibration."""

from pathlib import Path

import numpy as np
import torch

from engine.columns import describe_label
from engine.models import MODELS
from engine.models.bundle import save_bundle
from engine.models.card import Card, DerivedCard, LabelCard
from engine.spec import Sampling

CENTRES = {"teff": (5200.0, 800.0), "logg": (3.5, 1.2), "fe_h": (-0.5, 0.5), "mg_h": (-0.4, 0.5)}


def write_bundle(
    folder: Path,
    *,
    sampling: Sampling | None,
    seed: int = 0,
    architecture: str = "desi_mlp_4",
    hidden: tuple[int, ...] = (32, 16, 16, 8),
    support_threshold: float | None = None,
) -> Path:
    """A small MLP with the labels teff, logg, fe_h, mg_h and mg_fe; uncalibrated where sampling is None.

    With a support_threshold it also says how far a spectrum is from a subspace of two components.
    """
    model = MODELS[architecture]
    hyper = model.hyper.model_copy(update={"hidden": hidden, "dropout": 0.1})
    torch.manual_seed(seed)
    network = model.build(hyper, model.input.grid.pixels, len(CENTRES))
    arrays = {f"network.0.{name}": value.numpy() for name, value in network.state_dict().items()}
    pixels = model.input.grid.pixels
    arrays |= {"pixel.centre": np.ones(pixels, np.float32), "pixel.scale": np.full(pixels, 0.2, np.float32)}
    centre, scale = np.array(list(CENTRES.values()), np.float32).T
    arrays |= {"label.centre": centre, "label.scale": scale}
    if support_threshold is not None:
        parts = {"mean": (pixels,), "components": (2, pixels), "scatter": (pixels,)}
        arrays |= {f"support.{name}": np.full(shape, 0.1, np.float32) for name, shape in parts.items()}
    card = Card(
        name="random",
        architecture=architecture,
        hyper=hyper.model_dump(mode="json"),
        licence="CC0-1.0",
        lineage={"weights": "random"},
        sampling=sampling,
        labels=tuple(_label(name, sampling is not None) for name in (*CENTRES, "mg_fe")),
        derived=(DerivedCard(name="mg_fe", minuend="mg_h", subtrahend="fe_h"),),
        support_threshold=support_threshold,
        weights_sha256="",
    )
    save_bundle(folder, card, arrays)
    return folder


def _label(name: str, calibrated: bool) -> LabelCard:
    unit, _, description = describe_label(name)
    middle, width = CENTRES.get(name, (0.1, 0.1))
    card = LabelCard(
        name=name, unit=unit, description=description, low=middle - 0.3 * width, high=middle + 0.3 * width
    )
    return card.model_copy(update={"error_scale": 2.0, "error_floor": 0.05 * width}) if calibrated else card
