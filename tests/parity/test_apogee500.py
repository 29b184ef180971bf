"""Calibration on real stars: 500 of APOGEE, 100 pixels each; truth is their labels in the survey's catalog.

Every star is a test star once, in five folds. The networks that label it have learnt from three others, and
their errors were calibrated on the fourth: neither has seen it.
"""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.draw import Network
from engine.estimate import calibrated
from engine.models.architecture import Architecture, no_penalty
from engine.models.mlp import MlpHyper, build_mlp
from engine.prepare.as_given import as_given
from engine.spec import Sampling
from engine.support import TrainingSet
from engine.train.calibrate import coverage, fit_calibration
from engine.train.dataset import PARTS, LabelledSpectra
from engine.train.feed import Held, Order
from engine.train.loop import Course, fit
from engine.train.losses import chi2
from engine.train.report.summary import TWO_SIGMA
from engine.train.scalers import fit_scalers
from engine.train.spec import Training
from engine.train.tensors import to_tensors
from engine.train.validate import Fitted, residuals
from engine.types import Doubles, Floats, Grid, Input, Ints, Label

pytestmark = pytest.mark.realdata

FILE = "apogee/apogee_hip_first500_100pix.npz"
FOLDS, VALIDATION = 5, 20
# The file gives no errors of labels; these weigh them against each other in the loss.
FLOORS = {"teff": 100.0, "logg": 0.2, "m_h": 0.1}
LABELS = tuple(Label(name=name, unit="", ucd="", description="") for name in FLOORS)
# Chosen by four-fold cross-validation among the learners of each fold, where squared residuals of all labels
# were the judge. Of 22 settings (widths, activation, dropout, rate, decay, epochs, noise, loss, scaling) 12
# lay within 3 % of the best; this is the second of them, which scales as our networks do. They are variations
# of one that was found by hand on learners of folds 0 and 2. A star that tests one fold teaches others, so
# it had a say. Two other ways to share out the same stars (`seed` of stars_of: 11, 12) leave 140 and 142 K.
HYPER = MlpHyper(hidden=(64, 32), activation="gelu", dropout=0.1)
SETTINGS = Training(epochs=200, batch=64, learning_rate=5e-3, keep="last", noise=0.0, members=3)
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
    total_N: Doubles


def stars_of(path: Path, fold: int, seed: int = 0) -> LabelledSpectra:
    """The stars, shared out for one fold; another seed gives other folds."""
    with np.load(path) as arrays:
        flux, error, label = (arrays[name].astype(np.float32) for name in ("flux", "second", "labels"))
    return LabelledSpectra(
        flux_NP=flux,
        ivar_NP=error**-2,
        snr_N=np.median(flux / error, axis=1),
        extra_NE=np.empty((len(flux), 0), np.float32),
        label_NL=label,
        error_NL=np.zeros_like(label),
        known_NL=np.ones_like(label, bool),
        part_N=parts_of(len(flux), fold, seed),
    )


def parts_of(stars: int, fold: int, seed: int) -> Ints:
    """Which part each star is of: one fold tests, the next one calibrates, the others teach."""
    fold_N = np.random.default_rng(seed).permutation(stars) % FOLDS
    part_N = np.full(stars, PARTS.index("train"), np.int32)
    part_N[fold_N == fold] = PARTS.index("test")
    part_N[fold_N == (fold + 1) % FOLDS] = PARTS.index("calibration")
    learners = np.flatnonzero(part_N == PARTS.index("train"))
    watched = np.random.default_rng(fold).choice(learners, VALIDATION, replace=False)
    part_N[watched] = PARTS.index("validation")
    return part_N


def learn(stars: LabelledSpectra) -> Fitted:
    """An ensemble of small networks with dropout."""
    scalers = fit_scalers(NETWORK, stars.part("train"))
    floor_L = np.array(list(FLOORS.values()), np.float32)
    train = to_tensors(stars.part("train"), scalers, floor_L)
    order = Order(stars=len(train), batch=SETTINGS.batch, seed=SETTINGS.seed)
    course = Course(
        train=Held(stars=train, order=order),
        validation=to_tensors(stars.part("validation"), scalers, floor_L),
        settings=SETTINGS,
        loss=chi2,
        penalty=lambda weights: no_penalty(weights, HYPER),
    )
    networks = tuple(member_of(course, member) for member in range(SETTINGS.members))
    return Fitted(networks=networks, sampling=SAMPLING, scalers=scalers, known=TrainingSet())


def member_of(course: Course, member: int) -> Network:
    """One network of the ensemble, as engine/train/members.py trains it."""
    torch.manual_seed(SETTINGS.seed + member)
    network = build_mlp(HYPER, NETWORK.inputs, len(LABELS))
    assert isinstance(course.train, Held)
    train = replace(course.train, order=replace(course.train.order, member=member))
    fit(network, replace(course, train=train, member=member), on_epoch=lambda _: None)
    return network.eval().requires_grad_(False)


def one_fold(path: Path, fold: int, seed: int) -> dict[str, Outcome]:
    """One fold: learn, calibrate, and look at the stars that neither has seen."""
    stars = stars_of(path, fold, seed)
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
def outcomes(path: Path, seed: int = 0) -> dict[str, Outcome]:
    """All folds, one after another: 500 test stars for each label."""
    folds = [one_fold(path, fold, seed) for fold in range(FOLDS)]
    return {
        name: Outcome(
            **{part: np.concatenate([getattr(f[name], part) for f in folds]) for part in Outcome.__slots__}
        )
        for name in FLOORS
    }


def test_every_star_is_tested_once_and_never_seen_before(realdata: Path) -> None:
    parts = np.stack([stars_of(realdata / FILE, fold).part_N for fold in range(FOLDS)])
    assert ((parts == PARTS.index("test")).sum(axis=0) == 1).all()
    assert [int((parts[0] == part).sum()) for part in range(len(PARTS))] == [280, 20, 100, 100]


@pytest.mark.parametrize("label", FLOORS)
def test_dropout_alone_covers_a_quarter_and_calibrated_errors_two_thirds(realdata: Path, label: str) -> None:
    found = outcomes(realdata / FILE)[label]
    assert len(found.residual_N) == 500
    assert coverage(found.residual_N, found.raw_N) < 0.45
    assert coverage(found.residual_N, found.total_N) == pytest.approx(0.683, abs=0.06)
    assert coverage(found.residual_N, TWO_SIGMA * found.total_N) == pytest.approx(0.95, abs=0.05)


@pytest.mark.parametrize(("label", "most"), [("teff", 155.0), ("logg", 0.30), ("m_h", 0.15)])
def test_the_network_has_learnt_what_a_hundred_pixels_tell(realdata: Path, label: str, most: float) -> None:
    """On as many stars ridge regression leaves 162 K, 0.29 and 0.14 dex, kernel ridge 144 K, 0.27, 0.12."""
    residual = outcomes(realdata / FILE)[label].residual_N
    assert 1.4826 * np.median(np.abs(residual)) <= most
