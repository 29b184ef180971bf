"""Calibration on real stars: 500 of APOGEE, 100 pixels each; truth is their labels in the survey's catalog.

Every star is a test star once, in five folds. The network that labels it has learnt from three others, and
its errors were calibrated on the fourth: neither has seen it.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.estimate import calibrated
from engine.models.architecture import Architecture, no_penalty
from engine.models.mlp import MlpHyper, build_mlp
from engine.prepare.as_given import as_given
from engine.spec import Sampling
from engine.support import TrainingSet
from engine.train.calibrate import coverage, fit_calibration
from engine.train.dataset import PARTS, LabelledSpectra
from engine.train.loop import Course, fit
from engine.train.losses import chi2
from engine.train.report.summary import TWO_SIGMA
from engine.train.scalers import fit_scalers
from engine.train.spec import Training
from engine.train.tensors import to_tensors
from engine.train.validate import Fitted, residuals
from engine.types import Floats, Grid, Input, Label

pytestmark = pytest.mark.realdata

FILE = "apogee/apogee_hip_first500_100pix.npz"
FOLDS, VALIDATION = 5, 50
# The file gives no errors of labels; these weigh them against each other in the loss.
FLOORS = {"teff": 100.0, "logg": 0.2, "m_h": 0.1}
LABELS = tuple(Label(name=name, unit="", ucd="", description="") for name in FLOORS)
HYPER = MlpHyper(hidden=(64, 32), dropout=0.1)
SETTINGS = Training(epochs=200, batch=32)
SAMPLING = Sampling(draws=100)
# The file does not say which 100 pixels of the survey's these are, and nothing here asks.
NETWORK = Architecture(
    name="apogee500",
    title="A small MLP on 100 pixels",
    reference="ours",
    input=Input(grid=Grid(start=15_000.0, step=1.0, pixels=100), frame="rest", medium="vacuum"),
    hyper=HYPER,
    normalise=as_given,
    build=build_mlp,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the test stars of all folds show of one label."""

    residual_N: Floats
    raw_N: Floats
    total_N: Floats


def stars_of(path: Path, fold: int) -> LabelledSpectra:
    """The stars, shared out for one fold."""
    with np.load(path) as arrays:
        flux, error, label = (arrays[name].astype(np.float32) for name in ("flux", "second", "labels"))
    fold_N = np.random.default_rng(0).permutation(len(flux)) % FOLDS
    part_N = np.full(len(flux), PARTS.index("train"))
    part_N[fold_N == fold] = PARTS.index("test")
    part_N[fold_N == (fold + 1) % FOLDS] = PARTS.index("calibration")
    learners = np.flatnonzero(part_N == PARTS.index("train"))
    part_N[np.random.default_rng(fold).choice(learners, VALIDATION, replace=False)] = PARTS.index(
        "validation"
    )
    return LabelledSpectra(
        flux_NP=flux,
        ivar_NP=error**-2,
        snr_N=np.median(flux / error, axis=1),
        extra_NE=np.empty((len(flux), 0), np.float32),
        label_NL=label,
        error_NL=np.zeros_like(label),
        known_NL=np.ones_like(label, bool),
        part_N=part_N,
    )


def learn(stars: LabelledSpectra) -> Fitted:
    """A small network with dropout, its weights those of the best epoch on validation stars."""
    scalers = fit_scalers(NETWORK, stars.part("train"))
    torch.manual_seed(SETTINGS.seed)
    network = build_mlp(HYPER, NETWORK.inputs, len(LABELS))
    floor_L = np.array(list(FLOORS.values()), np.float32)
    course = Course(
        train=to_tensors(stars.part("train"), scalers, floor_L),
        validation=to_tensors(stars.part("validation"), scalers, floor_L),
        settings=SETTINGS,
        loss=chi2,
        penalty=lambda weights: no_penalty(weights, HYPER),
    )
    fit(network, course, on_epoch=lambda _: None)
    network.eval().requires_grad_(False)
    return Fitted(networks=(network,), sampling=SAMPLING, scalers=scalers, known=TrainingSet())


def one_fold(path: Path, fold: int) -> dict[str, Outcome]:
    """One fold: learn, calibrate, and look at the stars that neither has seen."""
    stars = stars_of(path, fold)
    fitted = learn(stars)
    held_out, tests = (residuals(fitted, stars.part(name), LABELS, ()) for name in ("calibration", "test"))
    return {
        name: Outcome(
            residual_N=found.residual_N,
            raw_N=found.raw_N,
            total_N=calibrated(found.raw_N, found.snr_N, fit_calibration(held_out[name])),
        )
        for name, found in tests.items()
    }


@cache
def outcomes(path: Path) -> dict[str, Outcome]:
    """All folds, one after another: 500 test stars for each label."""
    folds = [one_fold(path, fold) for fold in range(FOLDS)]
    return {
        name: Outcome(
            **{part: np.concatenate([getattr(f[name], part) for f in folds]) for part in Outcome.__slots__}
        )
        for name in FLOORS
    }


def test_every_star_is_tested_once_and_never_seen_before(realdata: Path) -> None:
    parts = np.stack([stars_of(realdata / FILE, fold).part_N for fold in range(FOLDS)])
    assert ((parts == PARTS.index("test")).sum(axis=0) == 1).all()
    assert [int((parts[0] == part).sum()) for part in range(len(PARTS))] == [250, 50, 100, 100]


@pytest.mark.parametrize("label", FLOORS)
def test_dropout_alone_covers_a_quarter_and_calibrated_errors_two_thirds(realdata: Path, label: str) -> None:
    found = outcomes(realdata / FILE)[label]
    assert len(found.residual_N) == 500
    assert coverage(found.residual_N, found.raw_N) < 0.45
    assert coverage(found.residual_N, found.total_N) == pytest.approx(0.683, abs=0.06)
    assert coverage(found.residual_N, TWO_SIGMA * found.total_N) == pytest.approx(0.95, abs=0.05)


@pytest.mark.parametrize(("label", "most"), [("teff", 200.0), ("logg", 0.35), ("m_h", 0.17)])
def test_the_network_has_learnt_what_a_hundred_pixels_tell(realdata: Path, label: str, most: float) -> None:
    """As well as a linear ridge regression, which leaves 150 K, 0.28 and 0.13 dex."""
    residual = outcomes(realdata / FILE)[label].residual_N
    assert 1.4826 * np.median(np.abs(residual)) < most
