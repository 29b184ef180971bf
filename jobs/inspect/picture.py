"""A spectrum before and after prepare, as a figure."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import style
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
    # Whatever a matplotlibrc or another library asks for, LaTeX above all.
    with style.context("default"):
        _draw(found, row, png)


def _draw(found: Guess, row: int, png: Path) -> None:
    architecture = _model(found)
    stretches = _stretches(found.survey.arms)
    figure = Figure(figsize=(13, 8 if architecture else 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2 if architecture else 1, len(stretches))
    for place, arms in enumerate(stretches):
        _before(figure.add_subplot(grid[0, place]), found, row, arms)
    figure.axes[0].set_title(f"{found.path.name}, row {row}: as read", loc="left")
    if architecture is not None:
        _after(figure.add_subplot(grid[1, :]), found, row, architecture)
    try:
        figure.savefig(png, dpi=130)
    except (OSError, ValueError) as error:
        raise InputError(f"--plot {png}: cannot be written: {error}") from error


def _model(found: Guess) -> Architecture | None:
    for architecture in MODELS.values():
        try:
            handshake(architecture, found.survey.name, found.survey.spectrograph, architecture.needs)
        except PlanError:
            continue
        return architecture
    return None


def _stretches(arms: Sequence[Arm]) -> list[list[Arm]]:
    """Arms that share a panel: coefficients never, and light only without a gap wider than an arm."""
    stretches: list[list[Arm]] = []
    last: Grid | Waves | None = None
    for arm in sorted(arms, key=lambda arm: 0.0 if isinstance(arm.grid, Basis) else arm.grid.low):
        grid = arm.grid
        if isinstance(grid, Basis) or last is None or grid.low - last.high > grid.high - grid.low:
            stretches.append([])
        stretches[-1].append(arm)
        last = None if isinstance(grid, Basis) else grid
    return stretches


def _before(axes: Axes, found: Guess, row: int, arms: Sequence[Arm]) -> None:
    """The pixels as they are in the file, the bad ones as ticks at the foot."""
    seen = []
    for arm in arms:
        flux_NP, ivar_NP, _ = clean(*arrays(found.spectra.slice(row, 1), arm))
        flux, ivar, good = flux_NP[0], ivar_NP[0], ivar_NP[0] > 0
        x = _place(found, arm, row)
        sigma = np.divide(1, np.sqrt(ivar), out=np.zeros_like(ivar), where=good)
        draw = _stems if isinstance(arm.grid, Basis) else _curve
        draw(axes, x, np.where(good, flux, np.nan), sigma, _colour(found, arm), arm.name)
        axes.plot(
            x[~good], np.zeros((~good).sum()), "|", color="0.4", ms=6, transform=axes.get_xaxis_transform()
        )
        seen.append(flux[good])
    coefficients = isinstance(arms[0].grid, Basis)
    _limits(axes, np.concatenate(seen), everything=coefficients)
    what = "coefficient" if coefficients else "flux"
    axes.set(xlabel=_unit(found, found.survey.frame), ylabel=what)
    if len(found.survey.arms) > 1:
        axes.legend(loc="upper right", ncols=len(arms), fontsize="small")


def _after(axes: Axes, found: Guess, row: int, architecture: Architecture) -> None:
    """What the model would see before its fitted scaling."""
    wanted = architecture.input
    seen = architecture.normalise(found.spectra.slice(row, 1), found.survey.spectrograph, wanted)
    good, coefficients = seen.ivar_NP[0] > 0, isinstance(wanted.grid, Basis)
    flux = np.where(good, seen.flux_NP[0], np.nan)
    if isinstance(wanted.grid, Grid):
        x = wanted.grid.wave_P
        axes.axhline(1, color="0.7", lw=0.8, zorder=0)
        axes.plot(x, flux, color="k", lw=0.6)
    else:
        sigma = np.divide(1, np.sqrt(seen.ivar_NP[0]), out=np.zeros_like(flux), where=good)
        x = np.arange(wanted.grid.pixels)
        _stems(axes, x, flux, sigma, "k", "")
    _limits(axes, flux[good], everything=coefficients)
    share, snr = seen.good_fraction_N[0], seen.snr_N[0]
    axes.set_title(f"prepared for {architecture.name}: {share:.0%} of its pixels, S/N {snr:.1f}", loc="left")
    frame = wanted.frame if wanted.frame == "rest" else found.survey.frame
    axes.set(xlabel=_unit(found, frame), ylabel=f"normalised {'coefficient' if coefficients else 'flux'}")
    room = 0.01 * (x[-1] - x[0])
    axes.set_xlim(x[0] - room, x[-1] + room)


def _curve(axes: Axes, x: np.ndarray, flux: np.ndarray, sigma: np.ndarray, colour: str, name: str) -> None:
    """Light over wavelength, with a band of one sigma."""
    axes.plot(x, flux, color=colour, lw=0.6, label=name)
    axes.fill_between(x, flux - sigma, flux + sigma, color=colour, alpha=0.25, lw=0)


def _stems(axes: Axes, x: np.ndarray, flux: np.ndarray, sigma: np.ndarray, colour: str, name: str) -> None:
    """Coefficients with their errors: logarithmic, but for what is lost in the noise around zero."""
    noise = sigma[sigma > 0]
    axes.set_yscale("symlog", linthresh=3 * float(np.median(noise)) if len(noise) else 1.0)
    axes.axhline(0, color="0.7", lw=0.8, zorder=0)
    axes.vlines(x, 0, flux, color=colour, lw=0.8, alpha=0.5)
    axes.errorbar(x, flux, sigma, fmt=".", ms=4, color=colour, elinewidth=0.8, label=name)


def _colour(found: Guess, arm: Arm) -> str:
    return COLOURS[found.survey.arms.index(arm) % len(COLOURS)]


def _place(found: Guess, arm: Arm, row: int) -> np.ndarray:
    if isinstance(arm.grid, Grid):
        return arm.grid.wave_P
    if isinstance(arm.grid, Waves):
        return tensor(found.spectra, f"wave_{arm.name}")[row]
    return np.arange(arm.grid.pixels)


def _unit(found: Guess, frame: str) -> str:
    if any(isinstance(arm.grid, Basis) for arm in found.survey.arms):
        return "number of the coefficient"
    return f"wavelength [A], {frame} frame"


def _limits(axes: Axes, flux: np.ndarray, *, everything: bool) -> None:
    """The range of nearly all pixels, so that a cosmic does not hide the spectrum."""
    if not len(flux):
        axes.text(0.5, 0.5, "no good pixel", transform=axes.transAxes, ha="center")
        axes.set_yticks([])
    elif not everything:
        low, high = np.percentile(flux, (0.5, 99.5))
        room = 0.15 * max(high - low, 1e-30)
        axes.set_ylim(low - room, high + room)
