"""The axes of all figures: as in the training report, with margins that need no search for room."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from jobs.training_report.axes import grid

# Inches: large figures are two in a row, small ones three, and any of them fills a phone.
WIDE, SMALL, FLAT = (5.2, 4.3), (4.0, 3.2), (4.0, 2.8)
LEFT, RIGHT, BOTTOM, TOP, BAR = 0.66, 0.12, 0.52, 0.28, 0.5

MANY = 300


def frame(
    size: tuple[float, float], *, rows: int = 1, bar: bool = False, **more: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of a size in inches, with axes below each other; with room for a bar of colours beside them.

    matplotlib's own search for room takes as long as drawing does.
    """
    figure, axes = grid(rows, 1, size[1], width=size[0], **more)
    figure.set_layout_engine(None)
    right = 1 - (BAR if bar else RIGHT) / size[0]
    figure.subplots_adjust(LEFT / size[0], BOTTOM / size[1], right, 1 - TOP / size[1], hspace=0.08)
    return figure, [*np.ravel(axes)]


def counted(axis: Axis, most: float) -> None:
    """Ticks of a logarithmic axis of counts: 1, 10, 100, 1k; with 2 and 5 between them where few fit."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if most < MANY else (1.0,), numticks=9))
    axis.set_major_formatter(lambda x, _: _short(x))
    axis.set_minor_formatter(NullFormatter())


def _short(number: float) -> str:
    """1, 10k, 5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"
