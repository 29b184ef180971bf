"""What `inspect` prints of a file."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from rich.table import Table
from rich.text import Text

from engine.errors import PlanError
from engine.models import MODELS
from engine.models.architecture import handshake
from engine.prepare.gather import arrays, tensor
from engine.prepare.mask import clean
from engine.types import Arm, Basis, Waves
from jobs.inspect.guess import Guess

SHOWN_KEYS = 3
NOTABLE = ("gaia_source_id", "ra", "rv", "parallax", "phot_g_mean_mag", "ebv")


def page(found: Guess) -> Table:
    """Survey, rows, grids, S/N, missing data, and the models that could read the file."""
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(found):
        # As it is: what stands in brackets is no markup.
        table.add_row(name, Text(value))
    return table


def _lines(found: Guess) -> Iterator[tuple[str, str]]:
    survey, rows = found.survey, len(found.spectra)
    yield "file", str(found.path)
    yield "survey", f"{survey.name}: {survey.title} ({survey.reference})"
    looked = "" if rows == found.shard.rows else f"; what follows is of the first {rows:,}"
    yield "rows", f"{found.shard.rows:,}{looked}"
    if not any(isinstance(arm.grid, Basis) for arm in survey.arms):
        yield "wavelengths", f"{survey.frame} frame, {survey.medium}"
    for key in _keys(found):
        yield "key", key
    for arm in survey.arms:
        yield f"arm {arm.name}", _arm(found, arm)
    for missing in _missing(found):
        yield "missing", missing
    if approximate := found.spectra["position_source"].to_pylist().count("source_id"):
        yield "positions", f"of {approximate:,} rows are those of their source_id, good to 50 arcsec"
    yield "models", ", ".join(_models(found)) or "none of those in `abundant models` can read it"


def _keys(found: Guess) -> Iterator[str]:
    names = [key.name for key in found.survey.keys]
    for row in found.spectra.select(names).slice(0, SHOWN_KEYS).to_pylist():
        yield "/".join("NULL" if row[name] is None else str(row[name]) for name in names)
    if len(found.spectra) > SHOWN_KEYS:
        yield f"… ({'/'.join(names)})"


def _missing(found: Guess) -> Iterator[str]:
    """The columns that rows lack, those together that as many rows lack."""
    rows, lacking = len(found.spectra), defaultdict(list)
    for name in NOTABLE:
        lacking[found.spectra[name].null_count].append(name)
    for count in sorted(lacking.keys() - {0}, reverse=True):
        where = "every row" if count == rows else f"{count:,} of {rows:,} rows"
        yield f"{', '.join(lacking[count])} in {where}"


def _arm(found: Guess, arm: Arm) -> str:
    """Pixels, span, S/N and what is missing of one arm."""
    flux, ivar, mask = arrays(found.spectra, arm)
    good_flux, good_ivar, nonfinite = clean(flux, ivar, mask)
    good, there = good_ivar > 0, _there(found, arm)
    dark = int((~good.any(axis=1)).sum())
    if dark == len(good):
        return f"{_span(found, arm)}; no good pixel in any row"
    # Coefficients may be negative; of light only noise is.
    light = np.abs(good_flux) if isinstance(arm.grid, Basis) else good_flux
    signal = np.where(good, light * np.sqrt(good_ivar), np.nan)
    medians = np.nanmedian(signal[good.any(axis=1)], axis=1)
    parts = [
        _span(found, arm),
        f"S/N per {'coefficient' if isinstance(arm.grid, Basis) else 'pixel'} {_range(medians)}",
        f"good {good[there].mean():.1%}, masked {(mask[there] != 0).mean():.1%}, "
        f"without ivar {(~(ivar[there] > 0)).mean():.1%}",
    ]
    if nonfinite.any():
        parts.append(f"{int(nonfinite.sum()):,} numbers NaN or infinite")
    if dark:
        parts.append(f"{dark:,} of {len(good):,} rows without a good pixel")
    return "; ".join(parts)


def _there(found: Guess, arm: Arm) -> np.ndarray:
    """Which pixels a row has: all, but where rows bring wavelengths of their own, and fewer than the most."""
    if isinstance(arm.grid, Waves):
        return np.isfinite(tensor(found.spectra, f"wave_{arm.name}"))
    return np.ones((len(found.spectra), arm.grid.pixels), bool)


def _range(medians: np.ndarray) -> str:
    middle = f"{np.median(medians):.1f}"
    return middle if len(medians) == 1 else f"{middle} ({medians.min():.1f} to {medians.max():.1f})"


def _span(found: Guess, arm: Arm) -> str:
    grid = arm.grid
    if isinstance(grid, Basis):
        return f"{grid.pixels} coefficients"
    if isinstance(grid, Waves):
        wave = tensor(found.spectra, f"wave_{arm.name}")
        counts = np.isfinite(wave).sum(axis=1)
        if not counts.any():
            return f"at most {grid.pixels:,} pixels, none there"
        pixels = (
            f"{counts.min():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"
        )
        return f"{np.nanmin(wave):.1f} to {np.nanmax(wave):.1f} A, each row its own, {pixels} px"
    spacing = f"steps of {grid.step:g} {'A' if grid.spacing == 'linear' else 'in log10 A'}"
    return f"{grid.low:.1f} to {grid.high:.1f} A in {spacing}, {grid.pixels:,} px"


def _models(found: Guess) -> list[str]:
    """The models that can read the survey."""
    able = []
    for name, architecture in MODELS.items():
        try:
            handshake(architecture, found.survey.name, found.survey.spectrograph, architecture.needs)
            more = set(architecture.needs) - found.survey.fills
            able.append(f"{name} (with {', '.join(sorted(more))} joined)" if more else name)
        except PlanError:
            continue
    return able
