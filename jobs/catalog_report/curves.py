"""Along S/N: errors with their parts, and outcomes; along labels: rows, and the training range."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from catalogs.overview.records import OUTCOMES, Distribution, LabelErrors, Outcomes
from jobs.catalog_report.frame import FLAT, MANY, SMALL, WIDE, counted, frame
from jobs.catalog_report.words import share, sign, titled
from jobs.training_report.axes import BLUE, ORANGE, PURPLE, VERMILION, plain_log, unit_of

LINES = {"total": (BLUE, "-", 2.0), "model": (VERMILION, "--", 1.4), "noise": (PURPLE, ":", 1.8)}
SHADES: dict[str, str] = dict(zip(OUTCOMES, (BLUE, ORANGE, VERMILION, "0.3"), strict=True))
HATCHES: dict[str, str] = dict(zip(OUTCOMES, ("", "///", "xxx", "..."), strict=True))
BARS, ROOM = 50, 0.03
# Errors that differ by more than this factor are drawn on a logarithmic axis.
FAR = 12


def draw_errors(found: LabelErrors) -> Figure:
    """The calibrated error of a label along S/N, with 16 to 84 % shaded, and the medians of its parts."""
    figure, [axes] = frame(SMALL)
    middle_S = np.sqrt(found.snr_edges[:-1] * found.snr_edges[1:])
    for part, band in found.bands.items():
        colour, style, width = LINES[part]
        if part == "total":
            axes.fill_between(middle_S, band.low_S, band.high_S, color=colour, alpha=0.22, lw=0)
        axes.plot(middle_S, band.median_S, style, color=colour, lw=width, label=part)
    axes.set(xscale="log", xlim=found.snr_edges[[0, -1]])
    plain_log(axes.xaxis)
    total = found.bands["total"]
    _scale(axes, np.concatenate([total.low_S, total.high_S, *(x.median_S for x in found.bands.values())]))
    unit = unit_of(found.name, found.unit)
    axes.set(xlabel="S/N per pixel", ylabel=f"error of {sign(found.name)}" + (f" [{unit}]" if unit else ""))
    axes.legend(fontsize=8, frameon=False, loc="best")
    return figure


def _scale(axes: Axes, drawn: np.ndarray) -> None:
    """From 0 where errors are alike, logarithmic where they are not."""
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) and drawn.max() > FAR * drawn.min():
        axes.set_yscale("log")
        plain_log(axes.yaxis)
    else:
        axes.set_ylim(0, 1.08 * max(drawn, default=1.0))


def draw_outcomes(found: Outcomes) -> Figure:
    """Shares of rows by outcome in bins of S/N, above the number of rows in each."""
    figure, [above, below] = frame(WIDE, rows=2, sharex=True, height_ratios=(2.4, 1))
    rows_S = found.count_SO.sum(axis=1)
    share_SO = found.count_SO / np.maximum(rows_S, 1)[:, None]
    base_S = np.zeros(len(rows_S))
    for outcome, share_S in zip(OUTCOMES, share_SO.T, strict=True):
        _stack(above, found.snr_edges, base_S, base_S + share_S, outcome)
        base_S = base_S + share_S
    below.stairs(np.maximum(rows_S, 0.5), found.snr_edges, color="0.25", lw=1.4, baseline=None)
    above.set(ylim=(0, 1), ylabel="share of rows", xscale="log")
    below.set(yscale="log", ylabel="rows", xlabel="S/N per pixel", xlim=found.snr_edges[[0, -1]])
    below.set_ylim(0.5, 2 * max(rows_S.max(), 1))
    counted(below.yaxis, MANY)
    plain_log(below.xaxis)
    above.legend(fontsize=9, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return figure


def _stack(axes: Axes, edges: np.ndarray, low_S: np.ndarray, high_S: np.ndarray, outcome: str) -> None:
    look: dict[str, Any] = {"facecolor": SHADES[outcome], "edgecolor": "white", "hatch": HATCHES[outcome]}
    low, high = (np.append(side_S, side_S[-1]) for side_S in (low_S, high_S))
    axes.fill_between(edges, low, high, step="post", label=outcome, lw=0, **look)


def draw_coverage(found: Distribution) -> Figure:
    """How many rows have which value, and where the training range ends."""
    figure, [axes] = frame(FLAT)
    edges, count_B = _coarse(found)
    middle_B = (edges[:-1] + edges[1:]) / 2
    inside_B = np.ones(len(middle_B), bool)
    if found.low is not None and found.high is not None:
        inside_B = (middle_B >= found.low) & (middle_B <= found.high)
        for end in (found.low, found.high):
            axes.axvline(end, color=VERMILION, ls="--", lw=1.3)
    for where_B, colour, hatch in ((inside_B, BLUE, ""), (~inside_B, ORANGE, "////")):
        look: dict[str, Any] = {"facecolor": colour, "edgecolor": "white", "hatch": hatch, "lw": 0}
        axes.stairs(np.where(where_B, count_B, 0), edges, fill=True, **look)
    axes.set(yscale="log", ylim=(0.7, 2.5 * max(count_B.max(initial=1), 1)), xlim=edges[[0, -1]])
    counted(axes.yaxis, MANY)
    axes.set(xlabel=titled(found.name, found.unit), ylabel="rows")
    if found.low is not None:
        axes.set_title(_shares(found), fontsize=8, loc="left")
    return figure


def _shares(found: Distribution) -> str:
    sides = (("below", found.below), ("inside", found.inside), ("above", found.above))
    return ", ".join(f"{share(rows, found.rows)} {side}" for side, rows in sides)


def _coarse(found: Distribution) -> tuple[np.ndarray, np.ndarray]:
    """Some bars around all rows that can be shown and the training range, each of some of the fine bins."""
    held = np.flatnonzero(found.count_B)
    first, last = (held[0], held[-1] + 1) if len(held) else (0, len(found.count_B))
    if found.low is not None and found.high is not None:
        first = min(first, int(np.searchsorted(found.edges, found.low, side="right")) - 1)
        last = max(last, int(np.searchsorted(found.edges, found.high)))
    room = max(1, round(ROOM * (last - first)))
    first, last = max(0, first - room), min(len(found.count_B), last + room)
    starts = np.arange(first, last, max(1, round((last - first) / BARS)))
    return found.edges[np.append(starts, last)], np.add.reduceat(found.count_B[:last], starts)
