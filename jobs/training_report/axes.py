"""What all figures of the report share: size, colours that the colour-blind can tell, names with units."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from engine.columns import describe_label

# Okabe & Ito (2008).
BLUE, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
WIDTH, DPI = 10.5, 150
PER_PAGE = 3
NAMES = {"teff": r"$T_\mathrm{eff}$", "logg": r"$\log g$", "a_li": "A(Li)", "snr": "S/N per pixel"}
SHORT_UNITS = {"log(cm.s**-2)": "dex"}


def pages(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Labels in groups that stay readable on one figure."""
    for start in range(0, len(names), PER_PAGE):
        yield tuple(names[start : start + PER_PAGE])


def width_of(columns: int) -> float:
    """How wide a figure of so many labels side by side is."""
    return WIDTH * min(1.0, (columns + 0.15) / PER_PAGE)


def grid(
    rows: int, columns: int, height: float, *, width: float = WIDTH, **more: Any
) -> tuple[Figure, np.ndarray]:
    """A figure with rows x columns axes."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **more)
    for each in axes.flat:
        each.tick_params(which="both", direction="in", top=True, right=True)
        each.minorticks_on()
        each.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    return figure, axes


def symbol(name: str) -> str:
    """A label as astronomers write it: [Mg/H], log g."""
    if name in NAMES:
        return NAMES[name]
    description = describe_label(name)[2]
    return description[description.index("[") :] if "[" in description else description


def unit_of(name: str, unit: str) -> str:
    """The unit for an axis, "" for a number without one."""
    return "" if name == "snr" else SHORT_UNITS.get(unit, unit)


def written(name: str, unit: str, prefix: str = "") -> str:
    """An axis label: symbol and unit."""
    short = unit_of(name, unit)
    return f"{prefix}{symbol(name)} [{short}]" if short else f"{prefix}{symbol(name)}"


def number(value: float, unit: str) -> str:
    """A value as precise as its unit deserves; a dash where there is none."""
    if not np.isfinite(value):
        return "–"
    if unit == "K":
        text = f"{value:.1f}" if abs(value) < 10 else f"{value:.0f}"
    else:
        text = f"{value:.3f}" if SHORT_UNITS.get(unit, unit) == "dex" else f"{value:.3g}"
    return text.replace("-", "−")


def plain_log(axis: Axis) -> None:
    """Ticks of a logarithmic axis as plain numbers: 1, 2, 5, 10."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
    axis.set_major_formatter(lambda x, _: f"{x:g}")
    axis.set_minor_formatter(NullFormatter())


def nothing(axes: Axes, why: str) -> None:
    """Say on empty axes why they are empty."""
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color="0.4")
    axes.set(xticks=[], yticks=[])


def note(axes: Axes, text: str, *, low: bool = False) -> None:
    """Some words in the upper left corner of axes, or the lower."""
    box = {"boxstyle": "round,pad=0.2", "fc": "white", "ec": "none", "alpha": 0.8}
    y, va = (0.03, "bottom") if low else (0.97, "top")
    axes.text(0.03, y, text, transform=axes.transAxes, va=va, ha="left", fontsize=8, bbox=box, zorder=5)
