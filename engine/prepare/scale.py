"""Affine scaling: x' = (x - centre) / scale."""

from dataclasses import dataclass

import numpy as np

from engine.types import Bools, Floats

LEAST_KNOWN = 0.05
UNKNOWN_SCALE = np.float32(1e9)


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


def fit_median_iqr(x_NL: Floats, known_NL: Bools, least: float) -> Affine:
    """Median and inter-quartile range (q75 - q25, not rescaled to a sigma) of each column's known values.

    The scale is never below `least`, so that a constant column stays finite. A column that hardly any row
    knows gets a scale so large that all its values become 0: nothing could be learnt from it, and the few
    rows that have it must not be moved by it.
    """
    x_NL = np.where(known_NL, x_NL, np.nan)
    unknown_L = known_NL.mean(axis=0) < LEAST_KNOWN
    x_NL[:, unknown_L] = 0.0
    low_L, centre_L, high_L = np.nanpercentile(x_NL, (25, 50, 75), axis=0).astype(np.float32)
    scale_L = np.maximum(high_L - low_L, np.float32(least))
    return Affine(centre=centre_L, scale=np.where(unknown_L, UNKNOWN_SCALE, scale_L))
