"""On which side of the training range a number lies, as bits."""

import numpy as np

from engine.types import Bits, Bools, Floats

BELOW, ABOVE, NO_LABEL = 1, 2, 4


def sides(x_N: Floats, known_N: Bools, low: float | None, high: float | None) -> Bits:
    """1 below, 2 above the training range (None: not known), 4 where there is no number."""
    bits_N = np.zeros(len(x_N), np.int16)
    if low is not None:
        bits_N[x_N < np.float32(low)] |= BELOW
    if high is not None:
        bits_N[x_N > np.float32(high)] |= ABOVE
    return np.where(known_N, bits_N, np.int16(NO_LABEL))
