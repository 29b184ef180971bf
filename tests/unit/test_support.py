"""Distances from the training stars: each about alike for their like, and large for what they are not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.support import Subspace, Threshold, TrainingSet, assess, neighbours_of, pixel_scores, scores
from engine.train.clouds import MOST_POINTS, fit_hidden, fit_labels, fit_neighbours
from engine.train.thresholds import fit_threshold
from engine.types import Floats, Inputs
from tests.inputs import draws_of, estimates_of, inputs_of

PIXELS, PARTS = 400, 5
RANDOM = np.random.default_rng(3)
BASIS = np.linalg.qr(RANDOM.normal(size=(PIXELS, PARTS)))[0].T.astype(np.float32)
SUBSPACE = Subspace(
    mean_P=RANDOM.normal(size=PIXELS).astype(np.float32),
    components_MP=BASIS,
    scatter_P=np.full(PIXELS, 0.05, np.float32),
    scale_P=np.full(PIXELS, 0.2, np.float32),
)
THRESHOLD = 1.5


def stars(rows: int, snr: float, *, outside: Floats | float = 0.0, missing: float = 0.0) -> Inputs:
    """Spectra of the subspace with noise, with a part outside it, and with pixels missing."""
    random = np.random.default_rng(7)
    sigma = 1 / snr / SUBSPACE.scale_P
    noise = np.hypot(sigma, SUBSPACE.scatter_P)
    x = (
        SUBSPACE.mean_P
        + random.normal(size=(rows, PARTS)) * 8 @ BASIS
        + random.normal(size=(rows, PIXELS)) * noise
        + outside
    )
    good = random.random((rows, PIXELS)) >= missing
    ivar = np.where(good, np.float32(snr**2), 0).astype(np.float32)
    return inputs_of(np.where(good, x, 0).astype(np.float32), ivar)


def on_device(inputs: Inputs) -> Inputs:
    """The same stars in torch."""
    x_NI, ivar_NP = torch.from_numpy(inputs.x_NI), torch.from_numpy(inputs.spectra.ivar_NP)
    return replace(inputs, x_NI=x_NI, spectra=replace(inputs.spectra, ivar_NP=ivar_NP))


@pytest.mark.parametrize("snr", [5.0, 20.0, 100.0])
@pytest.mark.parametrize("missing", [0.0, 0.3, 0.7])
def test_stars_like_the_training_set_are_near_one(snr: float, missing: float) -> None:
    found = pixel_scores(stars(300, snr, missing=missing), SUBSPACE)
    assert found["support_chi2"].mean() == pytest.approx(1.0, abs=0.06)
    assert found["wiggle"].mean() == pytest.approx(0.9, abs=0.2)


def test_what_the_training_set_never_had_is_far() -> None:
    strange = stars(50, 50.0, outside=0.5 * np.sign(np.sin(np.arange(PIXELS))))
    assert pixel_scores(strange, SUBSPACE)["support_chi2"].min() > THRESHOLD


def test_a_slow_ripple_shows_in_bins_while_it_hides_in_pixels() -> None:
    ripple = 0.06 * np.sin(2 * np.pi * np.arange(PIXELS) / 70)
    found, usual = (pixel_scores(stars(200, 50.0, outside=x), SUBSPACE) for x in (ripple, 0.0))
    rise = {name: np.median(found[name] / usual[name]) for name in ("support_chi2", "wiggle")}
    assert rise["support_chi2"] < 1.3
    assert rise["wiggle"] > 2.5


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_torch_gives_what_numpy_gives(missing: float) -> None:
    inputs = stars(300, 30.0, missing=missing)
    inputs.spectra.ivar_NP[3] = 0
    expected, found = pixel_scores(inputs, SUBSPACE), pixel_scores(on_device(inputs), SUBSPACE)
    for name, score_N in expected.items():
        assert isinstance(found[name], np.ndarray)
        np.testing.assert_allclose(found[name], score_N, rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_largest_gap_is_the_longest_run_of_missing_pixels_in_use() -> None:
    inputs = stars(3, 30.0)
    for row, (start, stop) in enumerate([(0, 0), (100, 117), (380, 400)]):
        inputs.spectra.ivar_NP[row, start:stop] = 0
    inputs.spectra.ivar_NP[1, 10:15] = 0
    assert pixel_scores(inputs, SUBSPACE)["largest_gap"].tolist() == [0, 17, 20]
    unused = replace(SUBSPACE, scale_P=np.where(np.arange(PIXELS) < 390, 0.2, 0).astype(np.float32))
    assert pixel_scores(inputs, unused)["largest_gap"].tolist() == [0, 17, 10]


def test_unusable_stars_and_bundles_that_remember_nothing_have_no_distance() -> None:
    inputs = stars(4, 50.0)
    inputs.usable_N[2] = False
    for score_N in pixel_scores(inputs, SUBSPACE).values():
        assert np.isnan(score_N).tolist() == [False, False, True, False]
    estimates = estimates_of(np.zeros((4, 0), np.float32))
    draws = draws_of(np.zeros((2, 4, 0), np.float32))
    assert not assess(inputs, draws, estimates, labels=(), known=TrainingSet()).scores
    # A score without a threshold is told, and marks no star.
    found = assess(inputs, draws, estimates, labels=(), known=TrainingSet(subspace=SUBSPACE))
    assert "support_chi2" in found.scores
    assert not found.beyond


def test_few_pixels_have_no_wiggle() -> None:
    short = replace(
        SUBSPACE,
        mean_P=SUBSPACE.mean_P[:100],
        components_MP=BASIS[:, :100],
        scatter_P=SUBSPACE.scatter_P[:100],
        scale_P=SUBSPACE.scale_P[:100],
    )
    inputs = stars(4, 50.0)
    inputs = replace(inputs, spectra=replace(inputs.spectra, ivar_NP=inputs.spectra.ivar_NP[:, :100]))
    assert set(pixel_scores(inputs, short)) == {"support_chi2", "largest_gap"}


def labels(rows: int) -> Floats:
    """Correlated temperatures and metallicities, in their units."""
    random = np.random.default_rng(5)
    z = random.normal(size=(rows, 2)) @ np.array([[1.0, 0.8], [0.0, 0.6]])
    return (z * [500.0, 0.3] + [5500.0, -0.2]).astype(np.float32)


def test_labels_are_far_by_mahalanobis_where_their_correlation_is_broken() -> None:
    known_NL = np.random.default_rng(6).random((2000, 2)) > 0.3
    # What is unknown must not count, and a few wild labels must not either.
    label_NL = np.where(known_NL, labels(2000), np.float32(np.nan))
    label_NL[:40, 0] = 50_000
    cloud = fit_labels(label_NL, known_NL)
    assert cloud is not None
    along, across = np.array([[6500.0, 0.4]]), np.array([[6500.0, -0.8]])
    assert cloud.distance(along)[0] == pytest.approx(2.0, abs=0.4)
    assert cloud.distance(across)[0] > 4
    usual_N = cloud.distance(labels(5000))
    assert np.sqrt((usual_N**2).mean() / 2) == pytest.approx(1.0, abs=0.1)


def test_neighbours_are_far_in_the_middle_of_a_ring() -> None:
    angle = np.linspace(0, 2 * np.pi, 9000)
    ring = np.stack([5000 + 1000 * np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    tree = fit_neighbours(ring, np.ones(ring.shape, bool))
    assert tree is not None
    assert len(tree.point_TL) == MOST_POINTS
    away = tree.distance(np.array([[6000.0, 0.0], [5000.0, 0.0]], np.float32), 10)
    assert away[0] < 0.01
    assert away[1] > 0.5
    assert (neighbours_of(tree.point_TL).distance(ring[:5], 10) == tree.distance(ring[:5], 10)).all()


def test_too_few_labels_are_not_remembered() -> None:
    none_NL = np.zeros((500, 2), bool)
    assert fit_labels(labels(500), none_NL) is None
    assert fit_neighbours(labels(500), none_NL) is None
    assert fit_hidden(np.zeros((10, 4), np.float32)) is None


def test_hidden_layers_are_far_within_the_components_and_outside_them() -> None:
    random = np.random.default_rng(8)
    hidden_NH = (random.normal(size=(3000, 6)) @ random.normal(size=(6, 64))).astype(np.float32)
    hidden_NH += 0.05 * random.normal(size=hidden_NH.shape).astype(np.float32)
    cloud = fit_hidden(hidden_NH)
    assert cloud is not None
    usual = np.quantile(cloud.distance(hidden_NH), 0.999)
    stretched, aside = hidden_NH[:20] * 8, hidden_NH[:20] + 2 * random.normal(size=64).astype(np.float32)
    assert np.median(cloud.distance(stretched)) > usual
    assert cloud.distance(aside).min() > usual


def test_labels_that_are_missing_have_no_distance() -> None:
    known_NL = np.ones((2000, 2), bool)
    known = TrainingSet(
        labels=fit_labels(labels(2000), known_NL), neighbours=fit_neighbours(labels(2000), known_NL)
    )
    centre_NL = labels(4)
    centre_NL[1, 0] = np.nan
    draws = draws_of(np.zeros((2, 4, 2), np.float32))
    found = scores(stars(4, 50.0), draws, estimates_of(centre_NL), known)
    for name in ("support_mahalanobis", "support_neighbours"):
        assert np.isnan(found[name]).tolist() == [False, True, False, False]


@pytest.mark.parametrize("rows", [60, 400, 20_000])
def test_one_new_star_in_a_hundred_exceeds_a_threshold_at_any_snr(rows: int) -> None:
    random = np.random.default_rng(rows)

    def drawn(count: int) -> tuple[Floats, Floats]:
        snr_N = 10 ** random.uniform(1, 2, count)
        # Scores rise with S/N, and scatter more there.
        score_N = np.exp(0.5 * np.log(snr_N) + 0.1 * snr_N**0.3 * random.normal(size=count))
        return score_N.astype(np.float32), snr_N.astype(np.float32)

    limit = fit_threshold(*drawn(rows))
    assert limit is not None
    score_N, snr_N = drawn(50_000)
    beyond_N = score_N > limit.at(snr_N)
    assert beyond_N.mean() < 0.03
    if rows == 20_000:
        assert beyond_N.mean() == pytest.approx(0.01, abs=0.003)
        faint_N = snr_N < 30
        assert beyond_N[faint_N].mean() == pytest.approx(beyond_N[~faint_N].mean(), abs=0.006)


def test_a_threshold_without_stars_is_none_and_one_of_equal_scores_is_theirs() -> None:
    snr_N = np.linspace(10, 50, 300).astype(np.float32)
    assert fit_threshold(np.full(300, np.nan, np.float32), snr_N) is None
    assert fit_threshold(np.zeros(300, np.float32), snr_N, least=4.0) == Threshold(snr=(1.0,), limit=(4.0,))
