"""Bundles without training: random weights, plausible scalers, fixed calibration."""

from pathlib import Path

import numpy as np
import torch

from engine.columns import describe_label
from engine.models import MODELS
from engine.models.architecture import Architecture
from engine.models.bundle import save_bundle
from engine.models.card import CalibrationCard, Card, DerivedCard, LabelCard, LimitsCard
from engine.spec import Frozen, Sampling

CENTRES = {"teff": (5200.0, 800.0), "logg": (3.5, 1.2), "fe_h": (-0.5, 0.5), "mg_h": (-0.4, 0.5)}
LOWEST, HIGHEST = -30.0, 30.0
Arrays = dict[str, np.ndarray]


def write_bundle(
    folder: Path,
    *,
    sampling: Sampling | None,
    seed: int = 0,
    architecture: str = "desi_mlp_4",
    hidden: tuple[int, ...] = (32, 16, 16, 8),
    support_threshold: float | None = None,
    members: int = 1,
) -> Path:
    """A network with random weights; uncalibrated where sampling is None.

    A network without labels of its own is small and has teff, logg, fe_h, mg_h and mg_fe. Of extras it has
    seen all between LOWEST and HIGHEST. With a support_threshold it also says how far a spectrum is from a
    subspace of two components.
    """
    model = MODELS[architecture]
    names = model.labels or tuple(CENTRES)
    small = {"hidden": hidden, "dropout": 0.1}
    hyper = model.hyper if model.labels else model.hyper.model_copy(update=small)
    arrays = _scalers(model, names)
    for member in range(members):
        torch.manual_seed(seed + member)
        arrays |= _weights(model, hyper, outputs=len(names), member=member)
    if support_threshold is not None:
        pixels = model.input.pixels
        parts = {"mean": (pixels,), "components": (2, pixels), "scatter": (pixels,)}
        arrays |= {f"support.{name}": np.full(shape, 0.1, np.float32) for name, shape in parts.items()}
    thresholds = {} if support_threshold is None else {"support_chi2": support_threshold}
    card = _card(model, hyper, names, sampling).model_copy(
        update={"members": members, "thresholds": thresholds}
    )
    save_bundle(folder, card, arrays)
    return folder


def _weights(model: Architecture, hyper: Frozen, *, outputs: int, member: int) -> Arrays:
    state = model.build(hyper, model.inputs, outputs).state_dict()
    return {f"network.{member}.{name}": value.numpy() for name, value in state.items()}


def _scalers(model: Architecture, names: tuple[str, ...]) -> Arrays:
    centre, scale = np.array([_spread(name) for name in names], np.float32).T
    return {
        "input.centre": np.ones(model.inputs, np.float32),
        "input.scale": np.full(model.inputs, 0.2, np.float32),
        "label.centre": centre,
        "label.scale": scale,
    }


def _card(model: Architecture, hyper: Frozen, names: tuple[str, ...], sampling: Sampling | None) -> Card:
    derived = () if model.labels else (DerivedCard(name="mg_fe", minuend="mg_h", subtrahend="fe_h"),)
    return Card(
        name="random",
        architecture=model.name,
        hyper=hyper.model_dump(mode="json"),
        licence="CC0-1.0",
        lineage={"weights": "random"},
        sampling=sampling,
        labels=tuple(_label(name, sampling is not None) for name in (*names, *(d.name for d in derived))),
        derived=derived,
        limits=tuple(LimitsCard(name=e.name, low=LOWEST, high=HIGHEST) for e in model.extras if e.limited),
        weights_sha256="",
    )


def _spread(name: str) -> tuple[float, float]:
    return CENTRES.get(name, (0.1, 0.1))


def _label(name: str, calibrated: bool) -> LabelCard:
    unit, _, description = describe_label(name)
    middle, width = _spread(name)
    errors = CalibrationCard(snr=(1.0,), scale=(2.0,), floor=(0.05 * width,))
    return LabelCard(
        name=name,
        unit=unit,
        description=description,
        low=middle - 0.3 * width,
        high=middle + 0.3 * width,
        calibration=errors if calibrated else None,
    )
