"""What a network sees: scaled pixels, then scaled extras; a number that cannot be one is missing."""

from dataclasses import replace

import numpy as np
import pytest

from engine.models.inputs import FARTHEST, scale_inputs
from engine.prepare.scale import Affine
from engine.types import Extras, Grid, Input, Inputs
from tests.inputs import inputs_of

PIXELS, ROWS = 3, 5
SCALE = Affine(
    centre=np.array([1.0, 1.0, 1.0, 10.0, 2.0], np.float32),
    scale=np.array([0.1, 0.1, np.inf, 2.0, np.inf], np.float32),
)


def scaled(value_NE: np.ndarray, missing: str = "centre") -> Inputs:
    """Five stars with flux 1.2 whose second pixel is missing, and two extras."""
    flux = np.full((ROWS, PIXELS), 1.2, np.float32)
    ivar = np.where(np.arange(PIXELS) == 1, 0, np.ones_like(flux)).astype(np.float32)
    flux[:, 1] = 1.0
    spectra = replace(inputs_of(flux, ivar).spectra, good_fraction_N=np.full(ROWS, 0.67, np.float32))
    extras = Extras(names=("a", "b"), value_NE=value_NE, saturated_N=np.zeros(ROWS, bool))
    grid = Grid(start=5000.0, step=1.0, pixels=PIXELS)
    wanted = Input(grid=grid, frame="rest", medium="air", missing=missing)  # type: ignore[arg-type]
    return scale_inputs(spectra, extras, wanted, SCALE)


def numbers(row: int = 0, a: float = 14.0, b: float = 7.0) -> np.ndarray:
    value_NE = np.tile(np.array([14.0, 7.0], np.float32), (ROWS, 1))
    value_NE[row] = a, b
    return value_NE


@pytest.mark.parametrize("missing", ["centre", "one"])
def test_pixels_come_first_and_what_is_not_used_is_0(missing: str) -> None:
    x_NI = scaled(numbers(), missing).x_NI
    np.testing.assert_allclose(x_NI, np.tile([2.0, 0.0, 0.0, 2.0, 0.0], (ROWS, 1)), atol=1e-5)
    assert x_NI.dtype == np.float32


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.nan, 7.0),
        (14.0, np.nan),
        (np.inf, 7.0),
        (-np.inf, 7.0),
        (14.0, np.inf),
        (3 * FARTHEST, 7.0),
        (-3 * FARTHEST, 7.0),
        (float(np.finfo(np.float32).max), 7.0),
    ],
)
def test_a_star_without_a_number_beside_is_unusable_and_zero(a: float, b: float) -> None:
    found = scaled(numbers(2, a, b))
    assert found.usable_N.tolist() == [True, True, False, True, True]
    assert not found.x_NI[2].any()
    assert np.isnan(found.extras.value_NE[2]).sum() == 1
    np.testing.assert_array_equal(found.x_NI[[0, 1, 3, 4]], scaled(numbers()).x_NI[1:])


def test_far_numbers_that_a_network_bears_are_kept() -> None:
    found = scaled(numbers(2, FARTHEST))
    assert found.usable_N.all()
    assert found.x_NI[2, PIXELS] == pytest.approx(FARTHEST / 2)
