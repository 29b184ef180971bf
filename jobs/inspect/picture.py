"""A spectrum before and after prepare, as a figure."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from engine.errors import InputError, PlanError
from engine.models import MODELS
from engine.models.architecture import Architecture, handshake
from engine.prepare.gather import arrays, tensor
from engine.prepare.mask import clean
from engine.types import Arm, Basis, Grid, Waves
from jobs.inspect.guess import Guess

COLOURS = ("tab:blue", "tab:orange", "tab:red", "tab:purple")


def draw_row(found: Guess, row: int, png: Path) -> None:
    """Write one row as read and as its first model would see it; InputError for a row that is not there."""
    if not 0 <= row < len(found.spectra):
        raise InputError(f"--row {row}: the rows looked at are 0 to {len(found.spectra) - 1}")
    architecture = _model(found)
    figure = Figure(figsize=(11, 7 if architecture else 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2 if architecture else 1, squeeze=False)[:, 0]
    _before(panels[0], found, row)
    if architecture is not None:
        _after(panels[1], found, row, architecture)
    try:
        figure.savefig(png, dpi=130)
    except OSError as error:
        raise InputError(f"--plot {png}: cannot be written: {error}") from error


def _model(found: Guess) -> Architecture | None:
    for architecture in MODELS.values():
        try:
            handshake(architecture, found.survey.name, found.survey.spectrograph)
        except PlanError:
            continue
        return architecture
    return None


def _before(axes: Axes, found: Guess, row: int) -> None:
    """The pixels as they are in the file, the bad ones as ticks at the foot."""
    levels = []
    for arm, colour in zip(found.survey.arms, COLOURS * len(found.survey.arms), strict=False):
        flux_NP, ivar_NP, _ = clean(*arrays(found.spectra.slice(row, 1), arm))
        good_flux, good_ivar = flux_NP[0], ivar_NP[0]
        x, good = _place(found, arm, row), good_ivar > 0
        sigma = np.divide(1, np.sqrt(good_ivar), out=np.zeros_like(good_ivar), where=good)
        axes.plot(x, np.where(good, good_flux, np.nan), color=colour, lw=0.6, label=arm.name)
        low, high = (np.where(good, good_flux + side * sigma, np.nan) for side in (-1, 1))
        axes.fill_between(x, low, high, color=colour, alpha=0.25, lw=0)
        foot = axes.get_xaxis_transform()
        axes.plot(x[~good], np.zeros((~good).sum()), "|", color="0.4", ms=6, transform=foot)
        levels.append(good_flux[good])
    _limits(axes, np.concatenate(levels))
    axes.set(title=f"{found.path.name}, row {row}: as read", xlabel=_unit(found), ylabel="flux")
    axes.legend(loc="upper right", ncols=len(found.survey.arms), fontsize="small")


def _after(axes: Axes, found: Guess, row: int, architecture: Architecture) -> None:
    """What the model would see before its fitted scaling."""
    wanted = architecture.input
    seen = architecture.normalise(found.spectra.slice(row, 1), found.survey.spectrograph, wanted)
    good = seen.ivar_NP[0] > 0
    x = wanted.grid.wave_P if isinstance(wanted.grid, Grid) else np.arange(wanted.grid.pixels)
    axes.plot(x, np.where(good, seen.flux_NP[0], np.nan), color="k", lw=0.6)
    axes.axhline(1, color="0.7", lw=0.8, zorder=0)
    _limits(axes, seen.flux_NP[0][good])
    share, snr = seen.good_fraction_N[0], seen.snr_N[0]
    axes.set(
        title=f"prepared for {architecture.name}: {share:.0%} of its pixels, S/N {snr:.1f}",
        xlabel=_unit(found, prepared=True),
        ylabel="normalised flux",
    )


def _place(found: Guess, arm: Arm, row: int) -> np.ndarray:
    if isinstance(arm.grid, Grid):
        return arm.grid.wave_P
    if isinstance(arm.grid, Waves):
        return tensor(found.spectra, f"wave_{arm.name}")[row]
    before = found.survey.arms[: found.survey.arms.index(arm)]
    return sum(other.grid.pixels for other in before) + np.arange(arm.grid.pixels)


def _unit(found: Guess, prepared: bool = False) -> str:
    if any(isinstance(arm.grid, Basis) for arm in found.survey.arms):
        return "coefficient"
    return f"wavelength [A], {'rest' if prepared else found.survey.frame} frame"


def _limits(axes: Axes, flux: np.ndarray) -> None:
    """The range of nearly all pixels, so that a cosmic does not hide the spectrum."""
    if not len(flux):
        axes.text(0.5, 0.5, "no good pixel", transform=axes.transAxes, ha="center")
        return
    low, high = np.percentile(flux, (0.5, 99.5))
    room = 0.15 * max(high - low, 1e-30)
    axes.set_ylim(low - room, high + room)
