"""Affine scaling: x' = (x - centre) / scale."""

from dataclasses import dataclass

import numpy as np

from engine.types import Bools, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """One centre and scale per column."""

    centre: Floats
    scale: Floats

    def apply(self, x: Floats) -> Floats:
        """Physical -> scaled, over the last axis."""
        return (x - self.centre) / self.scale

    def invert(self, x: Floats) -> Floats:
        """Scaled -> physical, over the last axis."""
        return x * self.scale + self.centre


def fit_median_iqr(x_NL: Floats, known_NL: Bools, *, least: float, rare: float) -> Affine:
    """Median and inter-quartile range (q75 - q25, not rescaled to a sigma) of each column's known values.

    The scale is never below `least`, so that a constant column stays finite. A column that less than the
    share `rare` of the rows know gets an infinite scale, under which every value becomes exactly 0: nothing
    could be learnt from it, and the few rows that have it must not be moved by it.
    """
    x_NL = np.where(known_NL, x_NL, np.nan)
    rare_L = known_NL.mean(axis=0) < rare
    x_NL[:, rare_L] = 0.0
    low_L, centre_L, high_L = np.nanpercentile(x_NL, (25, 50, 75), axis=0).astype(np.float32)
    scale_L = np.maximum(high_L - low_L, np.float32(least))
    return Affine(centre=centre_L, scale=np.where(rare_L, np.float32(np.inf), scale_L))
