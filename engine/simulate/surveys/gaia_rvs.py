"""Gaia RVS mean spectra: bulk files of many sources, and DataLink files of one, as in Gaia DR3.

Legend: N stars, P pixels.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from engine.simulate.surveys.driver import OnFile, Recipe
from engine.simulate.surveys.gaia_text import GaiaColumn, bulk_name, write_text
from engine.simulate.surveys.stars import Chunk
from engine.simulate.window import Window, observe_window, synthesize_window

WINDOW: Final = Window(low=8460.0, high=8700.0, step=0.1, resolving_power=11_500)
WAVE: Final = 8460.0 + 0.1 * np.arange(2401, dtype=np.float64)
"""Vacuum wavelengths (Å)."""

_SOLUTION: Final = 5950420259779346465
# Of each chunk, this many stars come as DataLink files.
_DATALINK: Final = 4

_BULK: Final = (
    GaiaColumn(name="solution_id", kind="int64"),
    GaiaColumn(name="source_id", kind="int64"),
    GaiaColumn(name="ra", kind="float64", unit="deg"),
    GaiaColumn(name="dec", kind="float64", unit="deg"),
    GaiaColumn(name="flux", kind="float32[]"),
    GaiaColumn(name="flux_error", kind="float32[]"),
    GaiaColumn(name="combined_transits", kind="int16"),
    GaiaColumn(name="combined_ccds", kind="int16"),
    GaiaColumn(name="deblended_ccds", kind="int16"),
)
_LONG: Final = tuple(
    GaiaColumn(name=name, kind=kind)
    for name, kind in (
        ("source_id", "int64"),
        ("solution_id", "int64"),
        ("ra", "float64"),
        ("dec", "float64"),
        ("wavelength", "float64"),
        ("flux", "float32"),
        ("flux_error", "float32"),
        ("combined_transits", "int16"),
        ("combined_ccds", "int16"),
        ("deblended_ccds", "int16"),
    )
)


def _write(folder: Path, chunk: Chunk, on_file: OnFile) -> dict[str, Any]:
    """Write a chunk's bulk file and its DataLink files."""
    flux_NP, error_NP, snr_N = _observe(chunk)
    targets, rng = chunk.targets, chunk.rng
    transits_N = rng.integers(5, 40, size=len(chunk))
    values = {
        "solution_id": np.full(len(chunk), _SOLUTION),
        "source_id": targets.source_id_N,
        "ra": targets.ra_N,
        "dec": targets.dec_N,
        "flux": flux_NP,
        "flux_error": error_NP,
        "combined_transits": transits_N,
        "combined_ccds": 3 * transits_N - rng.integers(0, 4, size=len(chunk)),
        "deblended_ccds": rng.integers(0, 5, size=len(chunk)),
    }
    single = len(chunk) - min(_DATALINK, len(chunk) // 2)
    bulk_N = np.argsort(targets.source_id_N[:single])
    path = folder / "rvs_mean_spectrum" / bulk_name("RvsMeanSpectrum", chunk.pixel)
    write_text(path, _BULK, {name: column[bulk_N] for name, column in values.items()})
    on_file(path, single)
    for star in range(single, len(chunk)):
        path = folder / "datalink" / f"RVS-Gaia DR3 {targets.source_id_N[star]}.csv"
        _write_long(path, {name: column[star] for name, column in values.items()})
        on_file(path, 1)
    return {"source_id": targets.source_id_N, "snr": snr_N}


def _write_long(path: Path, star: dict[str, Any]) -> None:
    """One source, a line for each pixel; missing pixels are blank."""
    wave_nm = np.round(846.0 + 0.01 * np.arange(len(WAVE)), 2)
    values = {name: np.broadcast_to(value, len(WAVE)) for name, value in star.items()}
    write_text(path, _LONG, values | {"wavelength": wave_nm}, ecsv=False, null="")


def _observe(chunk: Chunk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalised fluxes and errors [N, P], NaN at the edges of half the spectra; and the S/N [N]."""
    count, rng = len(chunk), chunk.rng
    true_NP = synthesize_window(WINDOW, chunk.targets.labels_NL, chunk.a_li_N)
    true_NP = observe_window(WINDOW, true_NP, np.zeros(count), WAVE)
    # The archive normalises to within a per cent or two, by three methods.
    tilt_N2 = 0.01 * rng.standard_normal((count, 2))
    true_NP = true_NP * (1 + tilt_N2[:, :1] + tilt_N2[:, 1:] * np.linspace(-1, 1, len(WAVE)))
    snr_N = chunk.snr(best=250.0)
    # The ends of the window are seen by fewer transits.
    worse_P = 1 + 2.5 * np.exp(-np.minimum(WAVE - WAVE[0], WAVE[-1] - WAVE) / 1.5)
    error_NP = worse_P * np.sqrt(np.maximum(true_NP, 0.05)) / snr_N[:, None]
    flux_NP = true_NP + error_NP * rng.standard_normal(true_NP.shape)
    for row, (blue, red) in enumerate(rng.integers(0, 8, size=(count, 2)) * (rng.random((count, 2)) < 0.4)):
        for array_P in (flux_NP[row], error_NP[row]):
            array_P[:blue] = np.nan
            array_P[len(WAVE) - red :] = np.nan
    return flux_NP.astype(np.float32), error_NP.astype(np.float32), snr_N


GAIA_RVS: Final = Recipe(name="gaia_rvs", keys=pa.schema([("source_id", pa.int64())]), write=_write)
