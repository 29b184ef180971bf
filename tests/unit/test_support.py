"""The distance from the training spectra: about 1 for their like, at any S/N and with any pixels missing."""

import numpy as np
import pytest

from engine.support import Subspace, assess, distance
from engine.types import Estimates, Inputs
from tests.inputs import inputs_of

PIXELS, PARTS = 400, 5
RANDOM = np.random.default_rng(3)
BASIS = np.linalg.qr(RANDOM.normal(size=(PIXELS, PARTS)))[0].T.astype(np.float32)
SUBSPACE = Subspace(
    mean_P=RANDOM.normal(size=PIXELS).astype(np.float32),
    components_MP=BASIS,
    scatter_P=np.full(PIXELS, 0.05, np.float32),
    scale_P=np.full(PIXELS, 0.2, np.float32),
    threshold=1.5,
)


def stars(rows: int, snr: float, *, outside: float = 0.0, missing: float = 0.0) -> Inputs:
    """Spectra of the subspace with noise, with a part outside it, and with pixels missing."""
    random = np.random.default_rng(7)
    sigma = 1 / snr / SUBSPACE.scale_P
    noise = np.hypot(sigma, SUBSPACE.scatter_P)
    x = (
        SUBSPACE.mean_P
        + random.normal(size=(rows, PARTS)) * 8 @ BASIS
        + random.normal(size=(rows, PIXELS)) * noise
    )
    x = x + outside * np.sign(np.sin(np.arange(PIXELS)))
    good = random.random((rows, PIXELS)) >= missing
    ivar = np.where(good, np.float32(snr**2), 0).astype(np.float32)
    x = np.where(good, x, 0).astype(np.float32)
    return inputs_of(x, ivar)


@pytest.mark.parametrize("snr", [5.0, 20.0, 100.0])
@pytest.mark.parametrize("missing", [0.0, 0.3, 0.7])
def test_stars_like_the_training_set_are_near_one(snr: float, missing: float) -> None:
    found = distance(stars(300, snr, missing=missing), SUBSPACE)
    assert found.mean() == pytest.approx(1.0, abs=0.06)


def test_what_the_training_set_never_had_is_far() -> None:
    assert distance(stars(50, 50.0, outside=0.5), SUBSPACE).min() > SUBSPACE.threshold


def test_unusable_stars_and_models_without_a_subspace_have_no_distance() -> None:
    inputs = stars(4, 50.0)
    inputs.usable_N[2] = False
    assert np.isnan(distance(inputs, SUBSPACE)).tolist() == [False, False, True, False]
    assert np.isnan(distance(inputs, None)).all()
    empty = np.zeros((4, 0), np.float32)
    estimates = Estimates(
        centre_NL=empty,
        model_NL=empty,
        noise_NL=None,
        total_NL=empty,
        usable_N=inputs.usable_N,
        calibrated=True,
    )
    assert not assess(inputs, estimates, labels=(), subspace=None).unlike_N.any()
