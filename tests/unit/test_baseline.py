"""The baseline: what follows from three labels is explained, what does not is left to the network."""

import numpy as np
import pytest

from engine.errors import PlanError
from engine.train.baseline import Reach, predictors_of, reaches
from engine.train.dataset import PARTS, LabelledSpectra
from engine.train.regress import Sample, fit_best, neighbours, polynomial, robust_scatter, scatter_error

NAMES = ("teff", "logg", "fe_h", "mg_h", "al_h", "o_h")
SHARES = (0.6, 0.1, 0.15, 0.15)
NOISE, FREE = 0.02, 0.15


def stars(count: int = 3000, spectra_each: int = 1, seed: int = 0) -> LabelledSpectra:
    """Mg follows from the three labels with little noise, Al also turns with logg, O is on its own."""
    generator = np.random.default_rng(seed)
    teff, logg = generator.uniform(4000, 6500, count), generator.uniform(0.5, 4.8, count)
    fe_h = generator.normal(-0.5, 0.4, count)
    mg_h = fe_h + 0.15 - 0.2 * fe_h + 1e-5 * (teff - 5000) + generator.normal(0, NOISE, count)
    al_h = fe_h + 0.3 * np.tanh(6 * (logg - 2.5)) + generator.normal(0, NOISE, count)
    o_h = generator.normal(0, FREE, count)
    part = generator.choice(len(PARTS), count, p=SHARES)
    label_NL = np.repeat(np.stack([teff, logg, fe_h, mg_h, al_h, o_h], axis=1), spectra_each, axis=0)
    rows = len(label_NL)
    nothing = np.zeros((rows, 1), np.float32)
    return LabelledSpectra(
        flux_NP=nothing,
        ivar_NP=nothing,
        snr_N=np.full(rows, 50, np.float32),
        extra_NE=np.zeros((rows, 0), np.float32),
        label_NL=label_NL.astype(np.float32),
        error_NL=np.zeros(label_NL.shape, np.float32),
        known_NL=np.ones(label_NL.shape, bool),
        part_N=np.repeat(part, spectra_each),
    )


def by_name(found: tuple[Reach, ...]) -> dict[str, Reach]:
    return {reach.name: reach for reach in found}


def test_what_follows_is_explained_to_its_noise_and_what_is_independent_is_not() -> None:
    found = by_name(reaches(stars(), NAMES, {}))
    assert list(found) == ["mg_h", "al_h", "o_h", "mg_fe", "al_fe", "o_fe"]
    for name in ("mg_h", "mg_fe"):
        assert found[name].scatter == pytest.approx(NOISE, rel=0.12)
        assert found[name].regressor in ("quadratic", "cubic", "linear")
    # A step that no cubic follows: neighbours do better, and the noise is not reached.
    assert found["al_h"].regressor.endswith("nearest")
    assert NOISE < (found["al_h"].scatter or 0) < 0.09
    assert found["o_h"].scatter == pytest.approx(FREE, rel=0.1)
    assert found["o_h"].unit == "dex"
    assert all(abs(reach.bias or 0) < 0.02 for reach in found.values())


def test_a_network_that_is_clearly_better_uses_the_spectrum() -> None:
    scatters = {"mg_h": 0.02, "al_h": 0.5, "o_h": 0.05, "mg_fe": 0.019, "al_fe": None}
    found = by_name(reaches(stars(), NAMES, scatters))
    verdicts = {name: found[name].verdict for name in found}
    assert verdicts == {
        "mg_h": "not shown",
        "al_h": "worse than labels",
        "o_h": "uses the spectrum",
        "mg_fe": "not shown",
        "al_fe": "",
        "o_fe": "",
    }
    assert found["o_h"].factor is not None
    factor, error = found["o_h"].factor
    assert factor == pytest.approx(3, rel=0.1)
    assert 0.05 < error < 0.4


def reach(scatter: float, e_scatter: float, network: float = 1.0) -> Reach:
    return Reach(name="mg_h", unit="dex", stars=100, scatter=scatter, e_scatter=e_scatter, network=network)


@pytest.mark.parametrize(
    ("scatter", "e_scatter", "verdict"),
    [
        (2.0, 0.2, "uses the spectrum"),
        (2.0, 0.3, "not shown"),
        (1.09, 0.001, "not shown"),
        (1.11, 0.001, "uses the spectrum"),
        (1.0, 0.0, "not shown"),
        (0.9, 0.01, "worse than labels"),
        (0.9, 0.1, "not shown"),
    ],
)
def test_clearly_is_by_three_errors_and_a_tenth(scatter: float, e_scatter: float, verdict: str) -> None:
    assert reach(scatter, e_scatter).verdict == verdict


def test_a_network_without_a_scatter_gets_no_verdict() -> None:
    assert reach(1.0, 0.1, network=0.0).factor is None
    assert Reach(name="mg_h", unit="dex", stars=3, network=0.1).verdict == "too few stars (< 20)"


def test_the_error_of_the_scatter_is_that_of_many_samples_and_counts_stars_not_spectra() -> None:
    generator = np.random.default_rng(3)
    samples = generator.normal(size=(400, 500))
    true = np.std([robust_scatter(sample) for sample in samples])
    each = np.arange(500)
    found = np.median([scatter_error(sample, each) for sample in samples[:8]])
    assert found == pytest.approx(true, rel=0.15)
    visits = np.median([scatter_error(np.repeat(s, 4), np.repeat(each, 4)) for s in samples[:8]])
    assert visits == pytest.approx(found, rel=0.1)


def test_spectra_of_one_star_count_once() -> None:
    once, thrice = (by_name(reaches(stars(400, each), NAMES, {})) for each in (1, 3))
    for name, one in once.items():
        assert thrice[name].stars == one.stars
        assert thrice[name].regressor == one.regressor
        assert thrice[name].scatter == pytest.approx(one.scatter, rel=0.02)
        assert thrice[name].e_scatter == pytest.approx(one.e_scatter, rel=0.25)


def test_missing_labels_are_left_out_and_labels_of_few_stars_say_so() -> None:
    with_gaps = stars(1000)
    with_gaps.known_NL[::3, 3] = False
    with_gaps.label_NL[::3, 3] = np.nan
    with_gaps.known_NL[1::5, 2] = False
    test = with_gaps.part_N == PARTS.index("test")
    with_gaps.known_NL[np.flatnonzero(test)[10:], 5] = False
    found = by_name(reaches(with_gaps, NAMES, {"o_h": 0.1}))
    both = with_gaps.known_NL[:, 3] & with_gaps.known_NL[:, 2] & test
    assert found["mg_h"].stars == both.sum()
    assert found["mg_h"].scatter == pytest.approx(NOISE, rel=0.4)
    assert found["o_h"].scatter is None
    assert found["o_h"].verdict == "too few stars (< 20)"


def test_only_training_stars_teach() -> None:
    """Other labels of test stars change the result by their own residual alone."""
    plain, spoilt = stars(), stars()
    spoilt.label_NL[spoilt.part_N == PARTS.index("test"), 3] += 1.0
    one, other = (by_name(reaches(found, NAMES, {}))["mg_h"] for found in (plain, spoilt))
    assert other.scatter == pytest.approx(one.scatter, rel=1e-3)
    assert (other.bias or 0) - (one.bias or 0) == pytest.approx(-1, abs=1e-3)


def test_regressors_are_what_they_say() -> None:
    generator = np.random.default_rng(1)
    x = generator.normal(size=(60, 3))
    cubic = 1 + x[:, 0] - 2 * x[:, 1] * x[:, 2] + 0.5 * x[:, 0] ** 3
    np.testing.assert_allclose(polynomial(Sample(x_NQ=x, y_N=cubic), 3)(x[:9]), cubic[:9], atol=1e-9)
    assert np.abs(polynomial(Sample(x_NQ=x, y_N=cubic), 2)(x) - cubic).max() > 0.1
    np.testing.assert_array_equal(neighbours(Sample(x_NQ=x, y_N=cubic), 1)(x), cubic)
    few = Sample(x_NQ=x[:4], y_N=cubic[:4])
    np.testing.assert_allclose(neighbours(few, 80)(x), np.full(60, cubic[:4].mean()))
    name, predict = fit_best(
        Sample(x_NQ=x * [1000, 1, 1], y_N=cubic), Sample(x_NQ=x * [1000, 1, 1], y_N=cubic)
    )
    assert name == "cubic"
    np.testing.assert_allclose(predict(x * [1000, 1, 1]), cubic, atol=1e-9)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("teff", "fe_h", "mg_h"), r"predicts from teff, logg, fe_h, and logg is not among the labels: add"),
        (("mg_h", "al_h"), "teff, logg, fe_h is not among the labels"),
        (("fakemag",), "teff, logg, fe_h is not among the labels"),
        (("teff", "logg", "fe_h"), "there is no label to predict: add one, such as mg_h"),
    ],
)
def test_labels_that_are_missing_are_named(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        predictors_of(names)


def test_metallicity_stands_in_for_iron() -> None:
    assert predictors_of(("teff", "logg", "m_h", "alpha_fe")) == ("teff", "logg", "m_h")
    assert predictors_of(("m_h", "fe_h", "logg", "teff")) == ("teff", "logg", "fe_h")
