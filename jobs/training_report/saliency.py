"""Where in a spectrum a network finds a label: gradients over wavelength, with the strong lines named."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from engine.errors import InputError
from engine.prepare.medium import convert
from engine.train.report import Gradients
from jobs.training_report.axes import BLUE, VERMILION, grid, symbol, unit_of
from jobs.training_report.density import Limits

# Wavelengths in air, Angstrom; rounded, for marks on a figure.
LINES: tuple[tuple[str, float], ...] = (
    ("Ca II K", 3933.66),
    ("Ca II H", 3968.47),
    (r"H$\delta$", 4101.74),
    ("CH G", 4304.0),
    (r"H$\gamma$", 4340.46),
    (r"H$\beta$", 4861.33),
    ("Mg I b", 5175.0),
    ("Na I D", 5892.9),
    (r"H$\alpha$", 6562.80),
    ("Sc II", 6604.60),
    ("Al I", 6696.02),
    ("Li I", 6707.80),
    ("Ca I", 6717.68),
    ("K I", 7698.96),
    ("Ca II", 8498.02),
    ("Ca II", 8542.09),
    ("Ca II", 8662.14),
    ("K I", 15168.4),
    ("Mg I", 15748.99),
    ("Al I", 16750.56),
)
LABELS_ON_ONE = 6
# Of two lines nearer than this share of what is shown, the first alone is named.
NEAREST = 0.015


def draw_gradients(
    found: Gradients,
    names: Sequence[str],
    units: Sequence[str],
    png: Path,
    within: Limits | None = None,
) -> None:
    """Write d label / d flux over wavelength as PNG, a panel for each label under the mean spectrum.

    `within` limits the wavelengths, in Angstrom. InputError where nothing is there, and for a PNG that cannot
    be written.
    """
    with style.context("default"):
        figure = _figure(found, range(len(names)), names, units, within)
        try:
            figure.savefig(png, format="png")
        except OSError as error:
            raise InputError(f"{png} cannot be written: {error}") from error


def gradient_figures(found: Gradients, names: Sequence[str], units: Sequence[str]) -> Iterator[Figure]:
    """The same for the report: a figure for every few labels."""
    for start in range(0, len(names), LABELS_ON_ONE):
        yield _figure(found, range(start, min(start + LABELS_ON_ONE, len(names))), names, units, None)


def _figure(
    found: Gradients, at: range, names: Sequence[str], units: Sequence[str], within: Limits | None
) -> Figure:
    """The mean spectrum, and the gradients of the labels `at` these places."""
    low, high = within or (float(found.wave_P[0]), float(found.wave_P[-1]))
    shown_P = (found.wave_P >= low) & (found.wave_P <= high)
    if not shown_P.any():
        raise InputError(f"no pixel of the network lies within {low:g} to {high:g}")
    figure, axes = grid(1 + len(at), 1, 1.5 + 1.5 * len(at), sharex=True)
    _line(axes[0, 0], found.wave_P[shown_P], found.flux_P[shown_P], "0.2")
    axes[0, 0].set_ylabel("mean\nspectrum")
    for panel, label in zip(axes[1:, 0], at, strict=True):
        panel.axhline(0, color="0.7", lw=0.8, zorder=0)
        _line(panel, found.wave_P[shown_P], found.slope_LP[label][shown_P], BLUE)
        panel.set_ylabel(f"∂ {symbol(names[label])} / ∂ flux\n[{unit_of(names[label], units[label])}]")
    axes[0, 0].set_xlim(low, high)
    axes[-1, 0].set_xlabel(f"wavelength in {found.medium} [Å]" if found.medium else "coefficient")
    if found.medium:
        _mark(axes[:, 0], low, high, found)
    figure.align_ylabels()
    return figure


def _line(axes: Axes, wave_P: np.ndarray, y_P: np.ndarray, colour: str) -> None:
    """A curve that does not cross gaps between the ranges of pixels."""
    steps_P = np.diff(wave_P)
    gaps = np.flatnonzero(steps_P > 3 * np.median(steps_P)) + 1 if len(steps_P) else []
    axes.plot(np.insert(wave_P, gaps, np.nan), np.insert(y_P, gaps, np.nan), color=colour, lw=0.7)


def _mark(axes: np.ndarray, low: float, high: float, found: Gradients) -> None:
    """A line through all panels at each strong line that is shown, with its name on top."""
    assert found.medium is not None
    last = -np.inf
    for name, air in LINES:
        wave = float(convert(np.array(air), "air", found.medium))
        if not low < wave < high or np.abs(found.wave_P - wave).min() > 5:
            continue
        for panel in axes:
            panel.axvline(wave, color=VERMILION, lw=0.7, ls=":", zorder=1)
        if wave - last > NEAREST * (high - low):
            place = axes[0].get_xaxis_transform()
            axes[0].text(wave, 1.03, name, transform=place, rotation=90, ha="center", va="bottom", fontsize=7)
            last = wave
