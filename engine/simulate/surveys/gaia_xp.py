"""Gaia XP mean spectra, continuous and sampled: bulk files and DataLink files, as in Gaia DR3.

Legend: N stars, C coefficients, P wavelengths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import fitsio
import numpy as np
import pyarrow as pa

from engine.simulate.surveys.driver import OnFile, Recipe, replacing
from engine.simulate.surveys.gaia_text import GaiaColumn, bulk_name, write_text
from engine.simulate.surveys.stars import Chunk
from engine.simulate.surveys.xp_light import (
    BANDS,
    COEFFICIENTS,
    Band,
    coefficients,
    packed_correlations,
    sampled_light,
    sampled_noise,
)

_SOLUTION: Final = 4545469030156206080
_FLUX_UNIT: Final = "W.m**-2.nm**-1"
# Of each chunk, this many stars come in each DataLink file; there is one of each form.
_DATALINK: Final = 3
_FORMS: Final = ("ecsv", "csv", "fits")
# One source in so many lacks BP, and as many lack RP.
_ONE_BAND_IN: Final = 31

_SAMPLED: Final = (
    GaiaColumn(name="source_id", kind="int64"),
    GaiaColumn(name="solution_id", kind="int64"),
    GaiaColumn(name="ra", kind="float64", unit="deg"),
    GaiaColumn(name="dec", kind="float64", unit="deg"),
    GaiaColumn(name="flux", kind="float32[]", unit=_FLUX_UNIT),
    GaiaColumn(name="flux_error", kind="float32[]", unit=_FLUX_UNIT),
)


def _band_columns(band: str) -> tuple[GaiaColumn, ...]:
    kinds = {
        "basis_function_id": "int16",
        "degrees_of_freedom": "int16",
        "n_parameters": "int16",
        "n_measurements": "int16",
        "n_rejected_measurements": "int16",
        "standard_deviation": "float32",
        "chi_squared": "float32",
        "coefficients": "float64[]",
        "coefficient_errors": "float32[]",
        "coefficient_correlations": "float32[]",
        "n_relevant_bases": "int16",
        "relative_shrinking": "float32",
    }
    return tuple(GaiaColumn(name=f"{band}_{name}", kind=kind) for name, kind in kinds.items())


_CONTINUOUS: Final = (
    GaiaColumn(name="source_id", kind="int64"),
    GaiaColumn(name="solution_id", kind="int64"),
    *_band_columns("bp"),
    *_band_columns("rp"),
)


def _write_continuous(folder: Path, chunk: Chunk, on_file: OnFile) -> dict[str, Any]:
    """Write a chunk's bulk file, and DataLink files as ECSV, CSV and FITS."""
    bands = coefficients(chunk, sampled_light(chunk))
    values: dict[str, Any] = {
        "source_id": chunk.targets.source_id_N,
        "solution_id": np.full(len(chunk), _SOLUTION),
    }
    for number, (name, band) in enumerate(bands.items()):
        # The first star of a file may lack a band as well as any other.
        lacks_N = (chunk.first + np.arange(len(chunk))) % _ONE_BAND_IN == 7 * number
        values |= _band_values(chunk, name, band, lacks_N)
    whole_N = ~np.array([coefficient is None for coefficient in values["bp_coefficients"]])
    signal_NC = bands["bp"].coefficient_NC / bands["bp"].error_NC
    product = _Product("XpContinuousMeanSpectrum", "XP_CONTINUOUS_RAW", _CONTINUOUS)
    product.write(folder, chunk, values, on_file)
    return {"source_id": values["source_id"], "snr": np.where(whole_N, signal_NC[:, 0], np.nan)}


def _write_sampled(folder: Path, chunk: Chunk, on_file: OnFile) -> dict[str, Any]:
    """Write a chunk's bulk file, and DataLink files as ECSV, CSV and FITS."""
    flux_NP, error_NP = sampled_noise(chunk, sampled_light(chunk))
    values = {
        "source_id": chunk.targets.source_id_N,
        "solution_id": np.full(len(chunk), _SOLUTION),
        "ra": chunk.targets.ra_N,
        "dec": chunk.targets.dec_N,
        "flux": flux_NP,
        "flux_error": error_NP,
    }
    product = _Product("XpSampledMeanSpectrum", "XP_SAMPLED_RAW", _SAMPLED)
    product.write(folder, chunk, values, on_file)
    return {"source_id": values["source_id"], "snr": np.median(flux_NP / error_NP, axis=1)}


@dataclass(frozen=True, slots=True)
class _Product:
    """The names of a product's files in bulk and from DataLink, and its columns."""

    table: str
    datalink: str
    columns: tuple[GaiaColumn, ...]

    def write(self, folder: Path, chunk: Chunk, values: Mapping[str, Any], on_file: OnFile) -> None:
        """Write a chunk: the first stars as a bulk file, the others as a DataLink file of each form."""
        each = _DATALINK if len(chunk) > 2 * _DATALINK * len(_FORMS) else 0
        bulk = len(chunk) - each * len(_FORMS)
        order = np.argsort(values["source_id"][:bulk])
        path = folder / "bulk" / bulk_name(self.table, chunk.pixel)
        write_text(path, self.columns, _taken(values, order))
        on_file(path, bulk)
        for place, form in enumerate(_FORMS if each else ()):
            rows = np.arange(bulk + place * each, bulk + (place + 1) * each)
            path = folder / "datalink" / f"{chunk.index:05d}" / f"{self.datalink}.{form}"
            _write_datalink(path, self.columns, _taken(values, rows))
            on_file(path, each)


def _taken(values: Mapping[str, Any], rows: Any) -> dict[str, Any]:
    """Those rows of columns, some of which are lists with None in them."""
    return {name: [column[row] for row in rows] for name, column in values.items()}


def _write_datalink(path: Path, columns: Sequence[GaiaColumn], values: Mapping[str, Any]) -> None:
    if path.suffix == ".fits":
        _write_fits(path, columns, values)
    elif path.suffix == ".csv":
        write_text(path, columns, values, ecsv=False, style="()", null="")
    else:
        write_text(path, columns, values, null="")


def _write_fits(path: Path, columns: Sequence[GaiaColumn], values: Mapping[str, Any]) -> None:
    """A binary table whose arrays have variable lengths, 0 where a source lacks a band."""
    arrays, names = [], []
    for column in columns:
        kind = np.dtype(column.kind.removesuffix("[]"))
        if column.kind.endswith("[]"):
            cells = np.empty(len(values[column.name]), dtype=object)
            for row, cell in enumerate(values[column.name]):
                cells[row] = np.zeros(0, kind) if cell is None else np.asarray(cell, kind)
        else:
            absent = 0 if kind.kind == "i" else np.nan
            cells = np.array([absent if cell is None else cell for cell in values[column.name]], kind)
        arrays.append(cells)
        names.append(column.name)
    with replacing(path) as temporary, fitsio.FITS(str(temporary), "rw", clobber=True) as fits:
        fits.write_table(arrays, names=names, units=[column.unit for column in columns])


def _band_values(chunk: Chunk, name: str, band: Band, lacks_N: np.ndarray) -> dict[str, list[Any]]:
    """The columns of one band; None throughout where a source lacks it."""
    rng, count = chunk.rng, len(chunk)
    measurements_N = 60 * rng.integers(15, 90, size=count)
    relevant_N = np.clip(COEFFICIENTS - (chunk.targets.g_mag_N - 12.5) * 8, 5, 54).astype(int)
    values = {
        "basis_function_id": np.full(count, 56 + BANDS.index(name)),
        "degrees_of_freedom": measurements_N - COEFFICIENTS,
        "n_parameters": np.full(count, COEFFICIENTS),
        "n_measurements": measurements_N,
        "n_rejected_measurements": rng.integers(0, 40, size=count),
        "standard_deviation": 1 + 0.1 * np.abs(rng.standard_normal(count)),
        "chi_squared": measurements_N * rng.uniform(0.95, 1.3, size=count),
        "coefficients": band.coefficient_NC,
        "coefficient_errors": band.error_NC,
        "coefficient_correlations": packed_correlations(rng, count),
        "n_relevant_bases": relevant_N,
        "relative_shrinking": np.full(count, 1.0),
    }
    return {
        f"{name}_{key}": [None if lacks else value for lacks, value in zip(lacks_N, column, strict=True)]
        for key, column in values.items()
    }


_KEYS: Final = pa.schema([("source_id", pa.int64())])
GAIA_XP: Final = Recipe(name="gaia_xp", keys=_KEYS, write=_write_continuous)
GAIA_XP_SAMPLED: Final = Recipe(name="gaia_xp_sampled", keys=_KEYS, write=_write_sampled)
