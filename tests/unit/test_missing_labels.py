"""A label that a star lacks, or that no star has: AstroNN learns the others, and stays finite."""

import warnings

import numpy as np
import torch

from engine.models import MODELS
from engine.models.astronn import LABELS, AstroNNHyper, build_astronn
from engine.train.dataset import LabelledSpectra
from engine.train.feed import Held, Order
from engine.train.loop import Course, fit
from engine.train.losses import robust
from engine.train.scalers import fit_scalers
from engine.train.spec import Training
from engine.train.tensors import to_tensors

STARS, SOME, NONE = 24, LABELS.index("na_h"), LABELS.index("p_h")


def stars() -> LabelledSpectra:
    """Noise for spectra; half of the stars lack sodium, and none has phosphorus. A missing error is 0."""
    random = np.random.default_rng(4)
    known_NL = np.ones((STARS, len(LABELS)), bool)
    known_NL[::2, SOME] = known_NL[:, NONE] = False
    shape = (STARS, MODELS["astronn"].input.pixels)
    return LabelledSpectra(
        flux_NP=random.normal(1, 0.05, shape).astype(np.float32),
        ivar_NP=np.full(shape, 400, np.float32),
        snr_N=np.full(STARS, 20, np.float32),
        extra_NE=np.empty((STARS, 0), np.float32),
        label_NL=np.where(known_NL, random.normal(0, 1, known_NL.shape), np.nan).astype(np.float32),
        error_NL=np.where(known_NL, 0.1, 0).astype(np.float32),
        known_NL=known_NL,
        part_N=np.zeros(STARS, np.int8),
    )


def test_a_label_that_no_star_has_leaves_the_network_finite_and_its_head_alone() -> None:
    given, hyper = stars(), AstroNNHyper(hidden=(16, 8), dropout=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scalers = fit_scalers(MODELS["astronn"], given)
        tensors = to_tensors(given, scalers, np.zeros(len(LABELS), np.float32))
    assert np.isposinf(scalers.labels.scale[NONE]), "a run refuses a bundle that never learnt a label"
    assert np.isfinite(np.delete(scalers.labels.scale, NONE)).all()
    torch.manual_seed(0)
    network = build_astronn(hyper, MODELS["astronn"].inputs, len(LABELS))
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    course = Course(
        train=Held(stars=tensors, order=Order(stars=STARS, batch=8, seed=1)),
        validation=tensors,
        settings=Training(epochs=2, batch=8, noise=0.0),
        loss=robust,
        penalty=lambda _: torch.zeros(()),
    )
    history = fit(network, course, on_epoch=lambda _: None)
    after = network.state_dict()
    assert all(np.isfinite(epoch.train_loss) for epoch in history)
    assert all(weight.isfinite().all() for weight in after.values())
    moved = {name.split(".")[1] for name in after if not torch.equal(after[name], before[name])}
    assert "p" not in moved
    assert {"na", "mg", "dense1"} <= moved
