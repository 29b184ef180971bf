"""What [[auxiliary]] tables would join to spectra, made up: plausible numbers for every star."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute

from engine.auxiliary.asked import KNOWN

COEFFICIENTS = ("bp_coefficients", "rp_coefficients")
NARROWER = {
    "parallax": (0.3, 5.0),
    "a_v": (0.0, 1.0),
    "ebv": (0.02, 0.3),
    "e_tmass_ks": (0.02, 0.04),
    "e_ebv": (0.01, 0.02),
}
MAGNITUDE = (9.0, 15.0)


def with_beside(spectra: pa.Table, names: Sequence[str]) -> pa.Table:
    """Spectra with these columns, which take the place of those that are there."""
    random = np.random.default_rng(11)
    for name in names:
        if name in COEFFICIENTS:
            values = random.normal(100.0, 30.0, (len(spectra), 55)).astype(np.float32)
            spectra = placed(spectra, name, pa.FixedShapeTensorArray.from_numpy_ndarray(values))
        else:
            numbers = random.uniform(*NARROWER.get(name, MAGNITUDE), len(spectra))
            spectra = placed(spectra, name, pa.array(numbers, KNOWN[name].type))
    return spectra


def with_one(spectra: pa.Table, name: str, row: int, number: float | None) -> pa.Table:
    """Spectra in which one star has another number (None: NULL, also of an array)."""
    old = spectra[name].combine_chunks()
    if isinstance(old, pa.FixedShapeTensorArray):
        assert number is None, "arrays can only be taken away"
        there = pa.array(np.arange(len(old)) == row)
        storage = pa.compute.if_else(there, pa.scalar(None, old.type.storage_type), old.storage)
        return placed(spectra, name, pa.ExtensionArray.from_storage(old.type, storage))
    values = old.to_pylist()
    values[row] = number
    return placed(spectra, name, pa.array(values, old.type))


def placed(spectra: pa.Table, name: str, column: pa.Array) -> pa.Table:
    """Spectra with a column, in the place of one of the same name or at the end."""
    if name in spectra.column_names:
        return spectra.set_column(spectra.column_names.index(name), name, column)
    return spectra.append_column(name, column)
