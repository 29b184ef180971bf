"""Is this star inside the training set? Box limits, per label and side."""

import numpy as np
import numpy.typing as npt

from engine.types import Estimates, Label

BELOW, ABOVE, NO_LABEL = 1, 2, 4


def label_bits(estimates: Estimates, labels: tuple[Label, ...]) -> npt.NDArray[np.int16]:
    """Bits per star and label, shape (N, L): 1 below, 2 above the training range, 4 no result."""
    low_L = np.array([label.low for label in labels], np.float32)
    high_L = np.array([label.high for label in labels], np.float32)
    centre_NL = estimates.centre_NL
    bits_NL = np.where(centre_NL < low_L, BELOW, 0) | np.where(centre_NL > high_L, ABOVE, 0)
    return np.where(estimates.usable_N[:, None], bits_NL, NO_LABEL).astype(np.int16)
