"""Affine scaling: x' = (x - centre) / scale. The fits differ in which centre and scale they take.

A fit sees the known values of each column alone. No scale is below `least`, so that a constant column stays
finite. A column that less than the share `rare` of the rows know, or none, gets an infinite scale, under
which every value becomes exactly 0: nothing could be learnt from it, and the few rows that have it must not
be moved by it.

Which network takes which: median and inter-quartile range Lee et al. (DESI); minimum and maximum Guiglion et
al. 2020 and Nepal et al. 2023; astroNN (henrysky/astroNN: src/astroNN/nn/utilities/normalizer.py) calls mean
and standard deviation mode 2 (labels), the mean alone mode 3 (pixels), the standard deviation alone mode 4
(the distance network's one label).
"""

from dataclasses import dataclass

import numpy as np

from engine.prepare.array import Array, constant
from engine.types import Bools, Doubles, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """One centre and scale per column."""

    centre: Floats
    scale: Floats

    def part(self, start: int, stop: int | None) -> "Affine":
        """The scaling of some columns."""
        return Affine(centre=self.centre[start:stop], scale=self.scale[start:stop])

    def apply(self, x: Array) -> Array:
        """Physical -> scaled, over the last axis; numpy or torch, where `x` lies."""
        return (x - constant(self.centre, x)) / constant(self.scale, x)

    def invert(self, x: Array) -> Array:
        """Scaled -> physical, over the last axis; numpy or torch, where `x` lies."""
        return x * constant(self.scale, x) + constant(self.centre, x)


def fit_median_iqr(x_NL: Floats, known_NL: Bools, *, least: float, rare: float = 0.0) -> Affine:
    """Median and inter-quartile range (q75 - q25, not rescaled to a sigma) of each column."""
    x_NL, rare_L = _known(x_NL, known_NL, rare)
    low_L, centre_L, high_L = np.nanpercentile(x_NL, (25, 50, 75), axis=0).astype(np.float32)
    return _affine(centre_L, high_L - low_L, rare_L, least)


def fit_mean_std(x_NL: Floats, known_NL: Bools, *, least: float, rare: float = 0.0) -> Affine:
    """Mean and standard deviation of each column, that of the population (ddof 0)."""
    x_NL, rare_L = _known(x_NL, known_NL, rare)
    return _affine(_mean(x_NL), _std(x_NL), rare_L, least)


def fit_mean(x_NL: Floats, known_NL: Bools, *, rare: float = 0.0) -> Affine:
    """The mean of each column; the scale is 1."""
    x_NL, rare_L = _known(x_NL, known_NL, rare)
    return _affine(_mean(x_NL), np.ones(x_NL.shape[1]), rare_L, 1.0)


def fit_std(x_NL: Floats, known_NL: Bools, *, least: float, rare: float = 0.0) -> Affine:
    """The standard deviation of each column about its mean; the centre is 0, so that signs stay."""
    x_NL, rare_L = _known(x_NL, known_NL, rare)
    return _affine(np.zeros(x_NL.shape[1]), _std(x_NL), rare_L, least)


def fit_min_max(x_NL: Floats, known_NL: Bools, *, least: float, rare: float = 0.0) -> Affine:
    """Minimum and range of each column: known values become 0 to 1."""
    x_NL, rare_L = _known(x_NL, known_NL, rare)
    low_L, high_L = np.nanmin(x_NL, axis=0), np.nanmax(x_NL, axis=0)
    return _affine(low_L, high_L - low_L, rare_L, least)


def _known(x_NL: Floats, known_NL: Bools, rare: float) -> tuple[Floats, Bools]:
    """Values with NaN where they are unknown, and which columns are rare; those hold zeros."""
    rare_L = (known_NL.mean(axis=0) < rare) | ~known_NL.any(axis=0)
    return np.where(rare_L, np.float32(0), np.where(known_NL, x_NL, np.float32(np.nan))), rare_L


def _mean(x_NL: Floats) -> Doubles:
    # In float64: a sum of many temperatures leaves float32's digits.
    return np.asarray(np.nanmean(x_NL, axis=0, dtype=np.float64))


def _std(x_NL: Floats) -> Doubles:
    return np.asarray(np.nanstd(x_NL, axis=0, dtype=np.float64))


def _affine(centre_L: Floats | Doubles, scale_L: Floats | Doubles, rare_L: Bools, least: float) -> Affine:
    scale_L = np.where(rare_L, np.inf, np.maximum(scale_L, least))
    return Affine(centre=centre_L.astype(np.float32), scale=scale_L.astype(np.float32))
