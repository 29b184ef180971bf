"""What trained networks say of the test stars, which nothing else has seen: all that a report needs.

Legend: N stars, I inputs, L labels.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from engine.draw import Output
from engine.train.dataset import LabelledSpectra
from engine.train.losses import chi2
from engine.train.report.validation import EpochScore, Validation
from engine.train.schedule import kept_epoch
from engine.train.spec import TrainSpec
from engine.train.state import Epoch
from engine.train.tensors import to_tensors
from engine.train.validate import Fitted, derived_labels, estimates_of, with_derived
from engine.types import Derived, Floats, Label

ROWS_AT_ONCE = 1024


def validation_of(
    spec: TrainSpec,
    fitted: Fitted,
    stars: LabelledSpectra,
    labels: Sequence[Label],
    history: Sequence[Epoch],
) -> Validation:
    """What the fitted networks say of test stars, errors calibrated, and how the first member learnt."""
    test, derived = stars.part("test"), derived_labels(spec.labels.names)
    found = estimates_of(fitted, test, labels, derived)
    truth_NL, known_NL, error_NL = with_derived(test, spec.labels.names, derived)
    noise_NL = np.zeros_like(found.model_NL) if found.noise_NL is None else found.noise_NL
    return Validation(
        split="test",
        names=tuple(label.name for label in labels),
        units=tuple(label.unit for label in labels),
        truth_NL=truth_NL,
        label_error_NL=error_NL,
        known_NL=known_NL,
        centre_NL=np.where(found.known_NL, found.centre_NL, np.float32(np.nan)),
        raw_error_NL=np.hypot(found.model_NL, noise_NL),
        total_error_NL=found.total_NL,
        snr_N=test.snr_N,
        reference=spec.labels.reference_name if test.reference_NL is not None else "",
        reference_NL=_references(test, spec.labels.names, derived),
        history=_scores([epoch for epoch in history if epoch.member == 0], spec),
        ids=test.ids,
        chi2=chi2_of(fitted, test, floors(spec)),
    )


def _references(stars: LabelledSpectra, names: Sequence[str], derived: Sequence[Derived]) -> Floats | None:
    """What the reference pipeline says, derived labels behind as differences of its own."""
    if stars.reference_NL is None:
        return None
    known_NL = np.isfinite(stars.reference_NL)
    theirs = replace(stars, label_NL=stars.reference_NL, known_NL=known_NL)
    return with_derived(theirs, names, derived)[0]


def floors(spec: TrainSpec) -> Floats:
    """The least error of each label, in its unit."""
    return np.array([spec.labels.error_floor.get(name, 0.0) for name in spec.labels.names], np.float32)


def chi2_of(fitted: Fitted, stars: LabelledSpectra, floor_L: Floats) -> float | None:
    """Mean of (residual / error)² over known labels, as the loss of that name has it, and over the networks.

    Without dropout. A label without an error of its own or a floor does not count; None where none has one.
    """
    given = to_tensors(stars, fitted.scalers, floor_L)
    inverse_NL = given.inverse_error_NL.nan_to_num(nan=0.0, posinf=0.0)
    if not (inverse_NL > 0).any():
        return None
    found = []
    with torch.inference_mode():
        for network in fitted.networks:
            value_NL = torch.cat([network(x_NI).value_NL for x_NI in given.x_NI.split(ROWS_AT_ONCE)])
            found.append(chi2(Output(value_NL, None), given.y_NL, inverse_NL).item())
    return float(np.mean(found))


def _scores(history: Sequence[Epoch], spec: TrainSpec) -> tuple[EpochScore, ...]:
    kept = kept_epoch(history, spec.training) if history else None
    return tuple(_score(epoch, spec.labels.names, epoch is kept) for epoch in history)


def _score(epoch: Epoch, names: Sequence[str], kept: bool) -> EpochScore:
    return EpochScore(
        number=epoch.number,
        train_loss=epoch.train_loss,
        validation_loss=epoch.validation_loss,
        best=kept,
        scatter=dict(zip(names, epoch.scatter_L, strict=False)),
    )
