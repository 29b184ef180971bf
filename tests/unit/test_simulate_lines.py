"""Simulated lines: where they lie, how wide they are, and which label moves them."""

import numpy as np
import pytest

from engine.simulate.labels import LABELS
from engine.simulate.surveys import galah, giraffe
from engine.simulate.surveys.gaia_rvs import WINDOW as RVS
from engine.simulate.window import Window, synthesize_window

APOGEE_WINDOW = Window(low=15080.0, high=17020.0, step=0.15, resolving_power=22_500)


def star(**labels: float) -> np.ndarray:
    """Labels [1, L] of a giant of solar composition, with changes."""
    values = dict.fromkeys(LABELS, 0.0) | {"teff": 5000.0, "logg": 3.0} | labels
    return np.array([[values[name] for name in LABELS]], dtype=np.float32)


def moved(window: Window, before: np.ndarray, after: np.ndarray, a_li: tuple[float, float]) -> np.ndarray:
    """Vacuum wavelengths (Å) of the pixels that change by more than a quarter of the largest change."""
    pair = [
        synthesize_window(window, labels, np.array([lithium]))[0]
        for labels, lithium in zip((before, after), a_li, strict=True)
    ]
    change_P = np.abs(pair[1] - pair[0])
    return window.wave_P[change_P > 0.25 * change_P.max()]


@pytest.mark.parametrize(
    ("window", "label", "step", "lines"),
    [
        (RVS, "ca_h", 0.3, (8500.4, 8544.4, 8664.5)),
        (
            giraffe.WINDOW,
            "ca_h",
            0.3,
            (6440.9, 6451.6, 6457.4, 6464.4, 6473.4, 6495.6, 6501.4, 6574.6, 6719.5),
        ),
        (galah.CAMERAS[2].window, "si_h", 0.3, (6723.7,)),
        (APOGEE_WINDOW, "al_h", 0.3, (16723.5, 16755.1, 16767.9)),
        (
            APOGEE_WINDOW,
            "ni_h",
            0.3,
            (15609.9, 15636.9, 16315.0, 16367.6, 16588.9, 16593.8, 16678.3, 16820.1, 16823.3),
        ),
    ],
)
def test_labels_move_their_own_lines(
    window: Window, label: str, step: float, lines: tuple[float, ...]
) -> None:
    found = moved(window, star(), star(**{label: step}), (1.0, 1.0))
    distance = np.abs(found[:, None] - np.array(lines)).min(axis=1)
    assert distance.max() < (6 if window is RVS else 1.2)


def test_lithium_moves_its_doublet_and_nothing_else() -> None:
    found = moved(giraffe.WINDOW, star(), star(), (0.5, 3.0))
    assert 6709.0 < found.min() < found.max() < 6710.5


@pytest.mark.parametrize(
    ("window", "hydrogen", "iron"), [(giraffe.WINDOW, 6564.6, 6679.8), (APOGEE_WINDOW, 16811.0, 15625.9)]
)
def test_hydrogen_grows_with_temperature_and_iron_fades(window: Window, hydrogen: float, iron: float) -> None:
    cool, hot = (synthesize_window(window, star(teff=teff), np.zeros(1))[0] for teff in (5000.0, 6500.0))
    for line, sign in ((hydrogen, -1), (iron, 1)):
        near_P = np.abs(window.wave_P - line) < 1.0
        assert (sign * (hot[near_P] - cool[near_P]).mean()) > 0.02


def test_magnesium_shows_in_the_h_band() -> None:
    flux = {
        mg_h: synthesize_window(APOGEE_WINDOW, star(mg_h=mg_h), np.zeros(1))[0] for mg_h in (-0.3, 0.0, 0.3)
    }
    for line in (15745.0, 15753.3, 15770.1):
        pixel = int(np.argmin(np.abs(APOGEE_WINDOW.wave_P - line)))
        assert flux[0.3][pixel] < flux[0.0][pixel] - 0.01 < flux[-0.3][pixel] - 0.02


@pytest.mark.parametrize("resolving_power", [7_500, 19_200, 28_000])
def test_a_weak_line_is_as_wide_as_the_spectrograph_and_the_gas_make_it(resolving_power: int) -> None:
    window = Window(low=6690.0, high=6720.0, step=0.01, resolving_power=resolving_power)
    without, with_line = (synthesize_window(window, star(), np.array([li]))[0] for li in (-2.0, 0.0))
    depth_P = without.astype(np.float64) - with_line
    area, mean = depth_P.sum(), (depth_P * window.wave_P).sum() / depth_P.sum()
    sigma = np.sqrt((depth_P * (window.wave_P - mean) ** 2).sum() / area)
    expected = np.sqrt((mean / resolving_power / 2.3548) ** 2 + (mean * 3.0 / 299792.458) ** 2 + 0.07**2)
    assert sigma == pytest.approx(expected, rel=0.05)
