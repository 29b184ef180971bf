"""What a side catalog holds of draws: covariances and quantiles, against numpy and against what is known."""

import numpy as np
import pyarrow as pa
import pytest

from engine.errors import UnexpectedNaN
from engine.estimate import Labelling, estimate
from engine.prepare.scale import Affine
from engine.side import covariances, side_arrays, side_columns
from engine.spec import RunSpec, SideColumn
from engine.types import Calibration, Derived, Draws, Estimates, Label
from tests.inputs import draws_of

ROWS, DRAWS = 7, 60
BOTH: tuple[SideColumn, ...] = ("covariance", "quantiles")
CENTRE, SCALE = np.array([5000, 0.5, -1.0], np.float32), np.array([800, 0.3, 0.4], np.float32)


def labelling(*, calibrated: bool = True, floor: float = 0.01) -> Labelling:
    """teff, mg_h and fe_h with mg_fe derived, each calibrated in its own way."""
    labels = []
    for number, name in enumerate(("teff", "mg_h", "fe_h", "mg_fe"), start=1):
        fitted = Calibration(snr=(10.0, 100.0), scale=(1.0 + number, 1.5), floor=(floor, floor))
        calibration, unit = fitted if calibrated else None, "K" if name == "teff" else "dex"
        labels.append(Label(name=name, unit=unit, ucd="", description=name, calibration=calibration))
    return Labelling(
        scale=Affine(centre=CENTRE, scale=SCALE),
        labels=tuple(labels),
        derived=(Derived(name="mg_fe", minuend="mg_h", subtrahend="fe_h"),),
    )


def some_draws(*, noise: bool = True, spread: float = 1.0) -> Draws:
    """Correlated draws of three outputs."""
    rng = np.random.default_rng(4)
    mix = np.array([[1, 0.2, 0.1], [0.5, 1, 0.9], [0.3, 0.1, 1]])
    value_KNL = rng.normal(size=(1, ROWS, 3)) + spread * 0.1 * rng.normal(size=(DRAWS, ROWS, 3)) @ mix
    log_variance_KNL = rng.normal(-5, 0.3, (DRAWS, ROWS, 3)).astype(np.float32)
    return draws_of(value_KNL.astype(np.float32), log_variance_KNL if noise else None)


def estimated(draws: Draws, how: Labelling) -> Estimates:
    usable_N = np.arange(ROWS) != 2
    return estimate(draws, usable_N, np.linspace(5, 200, ROWS, dtype=np.float32), how)


def physical(draws: Draws) -> np.ndarray:
    """teff, mg_h, fe_h, mg_fe in every draw."""
    value_KNL = draws.value_KNL.astype(np.float64) * SCALE + CENTRE
    return np.concatenate([value_KNL, value_KNL[..., 1:2] - value_KNL[..., 2:3]], axis=-1)


def unpacked(packed: np.ndarray) -> np.ndarray:
    """The matrix of a packed lower triangle, as the documentation has it."""
    labels = int(np.sqrt(2 * len(packed)))
    matrix_LL = np.zeros((labels, labels))
    matrix_LL[np.tril_indices(labels)] = packed
    return matrix_LL + np.tril(matrix_LL, -1).T


def matrices(draws: Draws, how: Labelling) -> tuple[np.ndarray, Estimates]:
    estimates = estimated(draws, how)
    rows = side_arrays(("covariance",), draws, estimates, how)["covariance"].to_pylist()
    return np.array([unpacked(np.array(row)) for row in rows if row is not None]), estimates


def test_without_noise_and_calibration_it_is_the_covariance_of_the_draws() -> None:
    draws = some_draws(noise=False)
    found_NLL, _ = matrices(draws, labelling(calibrated=False))
    kept = [row for row in range(ROWS) if row != 2]
    expected_NLL = np.array([np.cov(physical(draws)[:, row].T, ddof=0) for row in kept])
    np.testing.assert_allclose(found_NLL, expected_NLL, rtol=2e-3, atol=1e-6)


def test_predicted_noise_is_added_to_variances_and_shared_by_what_is_derived() -> None:
    draws, how = some_draws(), labelling(calibrated=False)
    found_NLL, _ = matrices(draws, how)
    assert draws.log_variance_KNL is not None
    variance_L = np.exp(draws.log_variance_KNL[:, 0].astype(np.float64)).mean(axis=0) * SCALE**2
    expected_LL = np.cov(physical(draws)[:, 0].T, ddof=0)
    expected_LL += np.diag([*variance_L, variance_L[1] + variance_L[2]])
    expected_LL[1, 3] += variance_L[1]
    expected_LL[2, 3] -= variance_L[2]
    lower = np.tril_indices(4)
    expected_LL[3, 1], expected_LL[3, 2] = expected_LL[1, 3], expected_LL[2, 3]
    np.testing.assert_allclose(found_NLL[0][lower], expected_LL[lower], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("noise", [True, False])
def test_the_diagonal_is_the_squared_error_of_the_catalog(calibrated: bool, noise: bool) -> None:
    found_NLL, estimates = matrices(some_draws(noise=noise), labelling(calibrated=calibrated))
    e_NL = np.delete(estimates.total_NL, 2, axis=0)
    np.testing.assert_allclose(np.einsum("nll->nl", found_NLL), e_NL.astype(np.float64) ** 2, rtol=1e-6)


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("noise", [True, False])
def test_it_is_positive_semidefinite_and_no_correlation_is_beyond_one(calibrated: bool, noise: bool) -> None:
    found_NLL, _ = matrices(some_draws(noise=noise), labelling(calibrated=calibrated))
    e_NL = np.sqrt(np.einsum("nll->nl", found_NLL))
    correlation_NLL = found_NLL / e_NL[:, :, None] / e_NL[:, None, :]
    assert np.linalg.eigvalsh(correlation_NLL).min() > -1e-6
    assert np.abs(correlation_NLL).max() < 1 + 1e-6


def test_calibration_leaves_correlations_as_they_are() -> None:
    draws = some_draws()
    raw_NLL, _ = matrices(draws, labelling(calibrated=False))
    found_NLL, _ = matrices(draws, labelling())
    for raw_LL, found_LL in zip(raw_NLL, found_NLL, strict=True):
        assert not np.allclose(raw_LL, found_LL, rtol=0.1)
        np.testing.assert_allclose(_correlation(raw_LL), _correlation(found_LL), atol=1e-5)


def _correlation(matrix_LL: np.ndarray) -> np.ndarray:
    e_L = np.sqrt(np.diag(matrix_LL))
    return matrix_LL / np.outer(e_L, e_L)


def test_labels_without_spread_have_an_error_and_no_covariance() -> None:
    draws, how = some_draws(noise=False, spread=0.0), labelling()
    matrix_NLL = covariances(draws, estimated(draws, how).total_NL, how)
    np.testing.assert_allclose(matrix_NLL, np.tile(np.eye(4) * 1e-4, (ROWS, 1, 1)), rtol=1e-5)


def test_quantiles_are_those_of_the_draws_label_by_label() -> None:
    draws, how = some_draws(), labelling()
    rows = side_arrays(("quantiles",), draws, estimated(draws, how), how)["quantiles"].to_pylist()
    for row in (0, 1, 6):
        found_L5 = np.array(rows[row]).reshape(4, 5)
        for label in range(4):
            expected = np.percentile(physical(draws)[:, row, label], [2.5, 16, 50, 84, 97.5])
            np.testing.assert_allclose(found_L5[label], expected, rtol=1e-5, atol=1e-5)


def test_quantiles_of_known_draws() -> None:
    """0, 1, … 1000 of one label: the points are 25, 160, 500, 840 and 975."""
    one = Labelling(
        scale=Affine(centre=np.zeros(1, np.float32), scale=np.ones(1, np.float32)),
        labels=(Label(name="teff", unit="K", ucd="", description="T"),),
    )
    value_KNL = np.random.default_rng(0).permutation(1001).astype(np.float32).reshape(-1, 1, 1)
    draws = draws_of(value_KNL)
    estimates = estimate(draws, np.ones(1, bool), np.ones(1, np.float32), one)
    found = side_arrays(BOTH, draws, estimates, one)
    np.testing.assert_allclose(found["quantiles"].to_pylist()[0], [25, 160, 500, 840, 975])
    np.testing.assert_allclose(found["covariance"].to_pylist()[0], [np.var(np.arange(1001))])


def test_a_star_does_not_depend_on_those_labelled_with_it() -> None:
    draws, how = some_draws(), labelling()
    whole = side_arrays(BOTH, draws, estimated(draws, how), how)
    assert draws.log_variance_KNL is not None
    some = draws_of(draws.value_KNL[:, 3:5], draws.log_variance_KNL[:, 3:5])
    snr_N = np.linspace(5, 200, ROWS, dtype=np.float32)[3:5]
    part = side_arrays(BOTH, some, estimate(some, np.ones(2, bool), snr_N, how), how)
    assert {name: part[name].to_pylist() for name in BOTH} == {
        name: whole[name].slice(3, 2).to_pylist() for name in BOTH
    }


def test_arrays_are_of_their_columns_and_null_without_a_result() -> None:
    draws, how = some_draws(), labelling()
    found = side_arrays(BOTH, draws, estimated(draws, how), how)
    columns = side_columns(BOTH, how)
    assert [column.name for column in columns] == list(found) == list(BOTH)
    assert [column.type.list_size for column in columns] == [10, 20]
    for column in columns:
        array = found[column.name]
        assert array.type == column.type
        assert array.type.value_type == pa.float32()
        assert [value is None for value in array.to_pylist()] == [row == 2 for row in range(ROWS)]
        assert "teff [K], mg_h [dex], fe_h [dex], mg_fe [dex]" in column.description


def test_distances_are_left_out() -> None:
    """Estimates may have more labels than the network and its derived ones."""
    draws, how = some_draws(), labelling()
    plain = estimated(draws, how)
    more = Estimates(
        centre_NL=np.hstack([plain.centre_NL, plain.centre_NL[:, :1]]),
        model_NL=np.hstack([plain.model_NL, plain.model_NL[:, :1]]),
        noise_NL=None,
        total_NL=np.hstack([plain.total_NL, plain.total_NL[:, :1]]),
        known_NL=np.hstack([plain.known_NL, np.zeros((ROWS, 1), bool)]),
        calibrated=True,
    )
    assert side_arrays(BOTH, draws, more, how) == side_arrays(BOTH, draws, plain, how)


def test_what_is_not_a_number_is_an_error() -> None:
    draws, how = some_draws(), labelling(floor=float("nan"))
    with pytest.raises(UnexpectedNaN, match="covariance"):
        side_arrays(("covariance",), draws, estimated(draws, how), how)


def test_nothing_asked_is_nothing_computed() -> None:
    draws, how = some_draws(), labelling()
    assert side_arrays((), draws, estimated(draws, how), how) == {}
    assert side_columns((), how) == ()


def _spec(**catalog: object) -> RunSpec:
    plain = {
        "survey": {"name": "desi", "root": "/spectra"},
        "model": {"bundle": "/bundle"},
        "catalog": {"name": "stars", "version": "1", "root": "/out", **catalog},
    }
    return RunSpec.model_validate(plain)


def test_what_is_asked_for_is_part_of_the_digest_and_its_order_is_not() -> None:
    digests = [_spec(side=side).digest() for side in ([], ["covariance"], ["covariance", "quantiles"])]
    assert len({*digests}) == 3
    assert _spec().digest() == digests[0]
    assert _spec(side=["quantiles", "covariance"]).digest() == digests[2]


def test_a_side_column_is_asked_for_once_and_by_its_name() -> None:
    for wrong in (["covariance", "covariance"], ["samples"]):
        with pytest.raises(ValueError, match=r"catalog\.side"):
            _spec(side=wrong)
