"""What a trained network is worth: label ranges, calibrated errors, and a report on stars it never saw."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from engine.columns import describe_label
from engine.draw import draw, thin
from engine.estimate import calibrate, estimate
from engine.models.card import LabelCard
from engine.models.model import scale_inputs
from engine.prepare.scale import Affine
from engine.spec import TrainSpec
from engine.support import Subspace
from engine.train.calibrate import coverage, fit_calibration
from engine.train.dataset import LabelledSpectra
from engine.train.loop import as_normalised
from engine.types import Derived, Estimates, Floats, Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A trained network with its scalers."""

    network: nn.Sequential
    pixel_scale: Affine
    label_scale: Affine
    subspace: Subspace


def derived_labels(names: Sequence[str]) -> tuple[Derived, ...]:
    """[X/Fe] for every [X/H] beside [Fe/H], unless it is a label itself."""
    if "fe_h" not in names:
        return ()
    elements = [
        name.removesuffix("_h") for name in names if name.endswith("_h") and name not in ("fe_h", "m_h")
    ]
    return tuple(
        Derived(name=f"{x}_fe", minuend=f"{x}_h", subtrahend="fe_h")
        for x in elements
        if f"{x}_fe" not in names
    )


def judge(spec: TrainSpec, fitted: Fitted, stars: LabelledSpectra) -> tuple[LabelCard, ...]:
    """Range, calibration and test result of every label, derived ones included."""
    names = spec.labels.names
    derived = derived_labels(names)
    training = stars.part("train")
    truth_NL, known_NL, _ = with_derived(training, names, derived)
    labels = [
        _label(name, truth_NL[known_NL[:, i], i])
        for i, name in enumerate((*names, *(d.name for d in derived)))
    ]
    calibration = _residuals(spec, fitted, stars.part("calibration"), labels, derived)
    labels = [replace(label, **_calibration(*part)) for label, part in zip(labels, calibration, strict=True)]
    test = _residuals(spec, fitted, stars.part("test"), labels, derived)
    return tuple(_label_card(label, *part) for label, part in zip(labels, test, strict=True))


def _label(name: str, values: Floats) -> Label:
    unit, ucd, description = describe_label(name)
    low, high = float(values.min()), float(values.max())
    return Label(name=name, unit=unit, ucd=ucd, description=description, low=low, high=high)


def with_derived(
    stars: LabelledSpectra, names: Sequence[str], derived: Sequence[Derived]
) -> tuple[Floats, np.ndarray, Floats]:
    """Labels, which are known, and their errors, with the derived ones behind."""
    pairs = [(names.index(d.minuend), names.index(d.subtrahend)) for d in derived]
    label = [stars.label_NL, *(stars.label_NL[:, [a]] - stars.label_NL[:, [b]] for a, b in pairs)]
    known = [stars.known_NL, *(stars.known_NL[:, [a]] & stars.known_NL[:, [b]] for a, b in pairs)]
    error = [stars.error_NL, *(np.hypot(stars.error_NL[:, [a]], stars.error_NL[:, [b]]) for a, b in pairs)]
    return np.hstack(label), np.hstack(known), np.hstack(error)


def _residuals(
    spec: TrainSpec,
    fitted: Fitted,
    stars: LabelledSpectra,
    labels: Sequence[Label],
    derived: Sequence[Derived],
) -> list[tuple[Floats, Floats, Floats]]:
    """Per label: residual, raw error and the label's own error, of the stars that have the label."""
    found = _estimates(spec, fitted, stars, labels, derived)
    truth_NL, known_NL, error_NL = with_derived(stars, spec.labels.names, derived)
    residual_NL = found.centre_NL - truth_NL
    return [
        (residual_NL[known, i], found.model_NL[known, i], error_NL[known, i])
        for i, known in enumerate(known_NL.T)
    ]


def _estimates(
    spec: TrainSpec,
    fitted: Fitted,
    stars: LabelledSpectra,
    labels: Sequence[Label],
    derived: Sequence[Derived],
) -> Estimates:
    """The same draws that a run will use."""
    inputs = scale_inputs(as_normalised(stars), fitted.pixel_scale)
    bank = thin(fitted.network.requires_grad_(False), spec.sampling, torch.device("cpu"))
    draws = draw((bank,), inputs)
    return estimate(draws, inputs.usable_N, scale=fitted.label_scale, labels=labels, derived=derived)


def _calibration(residual: Floats, raw: Floats, label_error: Floats) -> dict[str, float]:
    scale, floor = fit_calibration(residual, raw, label_error)
    return {"error_scale": scale, "error_floor": floor}


def _label_card(label: Label, residual: Floats, raw: Floats, label_error: Floats) -> LabelCard:
    total = np.hypot(calibrate(raw[:, None].astype(np.float64), [label])[:, 0], label_error)
    return LabelCard(
        name=label.name,
        unit=label.unit,
        description=label.description,
        low=label.low,
        high=label.high,
        error_scale=label.error_scale,
        error_floor=label.error_floor,
        test_bias=float(np.median(residual)),
        test_scatter=float(1.4826 * np.median(np.abs(residual - np.median(residual)))),
        test_coverage_raw=coverage(residual, raw),
        test_coverage=coverage(residual, total),
    )
