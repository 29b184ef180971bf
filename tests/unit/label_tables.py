"""Tables of CSV as authors publish them beside their weights."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

# What authors call the labels.
COLUMNS = {
    "rave_cnn_2019": "Teff logg MH alphaFe",
    "rave_cnn_2020": "Teff logg MH FeH alphaM SiFe AlFe MgFe NiFe",
    "lithium_cnn": "TEFF LOGG FEH LI1",
}
STARS = 40


def write_csv(path: Path, columns: Sequence[str], values: np.ndarray, ids: Sequence[str] = ()) -> Path:
    lines = [",".join([*(["id"] if ids else []), *columns])]
    lines += [
        ",".join([*ids[i : i + 1], *(f"{value:10.7g}" for value in row)]) for i, row in enumerate(values)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path
