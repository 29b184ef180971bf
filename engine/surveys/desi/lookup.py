"""Finding ids among sorted ids."""

import numpy as np
import numpy.typing as npt

from engine.types import Bools


def look_up(
    sorted_ids: npt.NDArray[np.int64], wanted_N: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.intp], Bools]:
    """The first place of each wanted id in ascending ids, and whether it is there at all."""
    place_N = np.searchsorted(sorted_ids, wanted_N)
    found_N = place_N < len(sorted_ids)
    found_N[found_N] = sorted_ids[place_N[found_N]] == wanted_N[found_N]
    return place_N, found_N
