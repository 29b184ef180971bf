"""What a trained network is worth: label ranges, calibrated errors, and what its card says of test stars."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from engine.columns import describe_label
from engine.draw import Network, bank_of, draw
from engine.estimate import Labelling, estimate
from engine.models.card import CalibrationCard, LabelCard
from engine.spec import Sampling
from engine.support import TrainingSet
from engine.train.calibrate import Residuals, fit_calibration
from engine.train.dataset import LabelledSpectra
from engine.train.report.summary import LabelSummary, summary
from engine.train.report.validation import Validation
from engine.train.scalers import Scalers, inputs_of
from engine.train.spec import TrainSpec
from engine.types import Derived, Estimates, Floats, Label


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Trained networks, the members of an ensemble, with their scalers and what they know of their stars."""

    networks: tuple[Network, ...]
    sampling: Sampling
    scalers: Scalers
    known: TrainingSet


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


def calibrated_labels(spec: TrainSpec, fitted: Fitted, stars: LabelledSpectra) -> tuple[Label, ...]:
    """Every label with its training range and calibration, derived ones last."""
    names = spec.labels.names
    derived = derived_labels(names)
    truth_NL, known_NL, _ = with_derived(stars.part("train"), names, derived)
    labels = [
        _label(name, truth_NL[known_NL[:, i], i])
        for i, name in enumerate((*names, *(d.name for d in derived)))
    ]
    fits = residuals(fitted, stars.part("calibration"), labels, derived)
    return tuple(replace(label, calibration=fit_calibration(fits[label.name])) for label in labels)


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


def residuals(
    fitted: Fitted, stars: LabelledSpectra, labels: Sequence[Label], derived: Sequence[Derived]
) -> dict[str, Residuals]:
    """Per label: what the stars that have it show of its errors."""
    names = [label.name for label in labels][: len(labels) - len(derived)]
    found = estimates_of(fitted, stars, [replace(label, calibration=None) for label in labels], derived)
    truth_NL, known_NL, error_NL = with_derived(stars, names, derived)
    return {
        label.name: Residuals(
            residual_N=(found.centre_NL - truth_NL)[known_N, i],
            raw_N=found.total_NL[known_N, i],
            label_error_N=error_NL[known_N, i],
            snr_N=stars.snr_N[known_N],
        )
        for i, (label, known_N) in enumerate(zip(labels, known_NL.T, strict=True))
    }


def estimates_of(
    fitted: Fitted, stars: LabelledSpectra, labels: Sequence[Label], derived: Sequence[Derived]
) -> Estimates:
    """The same draws that a run will use."""
    inputs = inputs_of(stars, fitted.scalers)
    banks = [bank_of(network, fitted.sampling, torch.device("cpu")) for network in fitted.networks]
    labelling = Labelling(
        scale=fitted.scalers.labels,
        labels=tuple(labels),
        derived=tuple(derived),
        noise=fitted.sampling.noise,
    )
    return estimate(draw(banks, inputs), inputs.usable_N, inputs.spectra.snr_N, labelling)


def label_cards(labels: Sequence[Label], validation: Validation) -> tuple[LabelCard, ...]:
    """What a card says of each label: its range, its calibration, and how it did on the stars kept apart."""
    return tuple(_label_card(*pair) for pair in zip(labels, summary(validation), strict=True))


def _label_card(label: Label, found: LabelSummary) -> LabelCard:
    assert label.calibration is not None
    return LabelCard(
        name=label.name,
        unit=label.unit,
        description=label.description,
        low=label.low,
        high=label.high,
        calibration=CalibrationCard(**asdict(label.calibration)),
        test_bias=found.spread.bias,
        test_scatter=found.spread.robust,
        test_coverage_raw=found.honesty.raw_68,
        test_coverage=found.honesty.within_68,
        test_coverage_95=found.honesty.within_95,
        test_pit=found.honesty.pit,
    )
