"""RAVE DR6 spectra: one FITS file for each, normalised, at rest, wavelengths in air.

Legend: N stars, P pixels.
"""

from pathlib import Path
from typing import Any, Final

import fitsio
import numpy as np
import pyarrow as pa

from engine.simulate.lines import air_to_vacuum
from engine.simulate.surveys.driver import OnFile, Recipe, replacing
from engine.simulate.surveys.names import field_name
from engine.simulate.surveys.stars import Chunk
from engine.simulate.window import Window, observe_window, synthesize_window

WINDOW: Final = Window(low=8395.0, high=8815.0, step=0.15, resolving_power=7500)
_STEP: Final = 0.389


def _write(folder: Path, chunk: Chunk, on_file: OnFile) -> dict[str, Any]:
    """Write a file for each star of a chunk."""
    rest_NP = synthesize_window(WINDOW, chunk.targets.labels_NL, chunk.a_li_N)
    snr_N = chunk.snr(best=110.0, slope=0.2)
    night = 20040300 + 10_000 * (chunk.index % 9) + 1 + chunk.index % 28
    field = field_name(chunk.targets.ra_N[0], chunk.targets.dec_N[0])
    names = []
    for star in range(len(chunk)):
        # Fibres lie differently on the detector, and the star's motion was taken out: no two grids are alike.
        start, pixels = 8409.0 + chunk.rng.uniform(-3, 3), int(chunk.rng.integers(985, 1005))
        wave_P = start + _STEP * np.arange(pixels, dtype=np.float64)
        flux_P = observe_window(WINDOW, rest_NP[star : star + 1], np.zeros(1), air_to_vacuum(wave_P))[0]
        relative_P = 1 / (snr_N[star] * np.sqrt(np.maximum(flux_P, 0.05)))
        flux_P = flux_P * (1 + relative_P * chunk.rng.standard_normal(pixels))
        names.append(f"{night}_{field}_{star + 1:03d}")
        path = folder / str(night) / f"RAVE_{names[-1]}.fits"
        _write_file(path, names[-1], flux_P, relative_P, start)
        on_file(path, 1)
    return {"rave_obs_id": names, "snr": snr_N}


def _write_file(path: Path, name: str, flux_P: np.ndarray, relative_P: np.ndarray, start: float) -> None:
    grid = [
        {"name": "CRVAL1", "value": start},
        {"name": "CDELT1", "value": _STEP},
        {"name": "CRPIX1", "value": 1.0},
        {"name": "CTYPE1", "value": "LINEAR"},
        {"name": "CUNIT1", "value": "Angstrom"},
    ]
    with replacing(path) as temporary, fitsio.FITS(str(temporary), "rw", clobber=True) as fits:
        fits.write_image(None, header=[{"name": "ROI", "value": name}])
        for extension, image_P in (("SPECTRUM", flux_P), ("ERROR", relative_P)):
            fits.write_image(image_P.astype(np.float32), extname=extension, header=grid)


RAVE: Final = Recipe(name="rave", keys=pa.schema([("rave_obs_id", pa.string())]), write=_write)
