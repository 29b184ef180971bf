"""GIRAFFE HR15N spectra, barycentric, wavelengths in air: ESO's tables of one row, and images.

Legend: N stars, P pixels.
"""

from pathlib import Path
from typing import Any, Final

import fitsio
import numpy as np
import pyarrow as pa

from engine.simulate.lines import air_to_vacuum
from engine.simulate.surveys.driver import OnFile, Recipe, replacing
from engine.simulate.surveys.stars import Chunk
from engine.simulate.window import Window, observe_window, synthesize_window

WINDOW: Final = Window(low=6440.0, high=6820.0, step=0.06, resolving_power=19_200)
WAVE_AIR: Final = 6470.0 + 0.05 * np.arange(6401, dtype=np.float64)
# Every second star comes as an image, the others as a table.
_FORMS: Final = ("table", "image")


def _write(folder: Path, chunk: Chunk, on_file: OnFile) -> dict[str, Any]:
    """Write a file for each star of a chunk."""
    count, rng = len(chunk), chunk.rng
    rest_NP = synthesize_window(WINDOW, chunk.targets.labels_NL, chunk.a_li_N)
    seen_NP = observe_window(WINDOW, rest_NP, chunk.targets.velocity_N, air_to_vacuum(WAVE_AIR))
    snr_N = chunk.snr(best=160.0, slope=0.2)
    counts_N1 = (snr_N**2 * rng.uniform(0.8, 1.3, count))[:, None]
    error_NP = np.sqrt(np.maximum(seen_NP, 0.02)) * counts_N1 / snr_N[:, None]
    flux_NP = seen_NP * counts_N1 + error_NP * rng.standard_normal(seen_NP.shape)
    names, files = [], []
    for star in range(count):
        form = _FORMS[(chunk.first + star) % 2]
        names.append(f"SIM{chunk.first + star:08d}")
        files.append(f"{form}/gir_{names[-1]}_H665.0")
        path = folder / f"{files[-1]}.fits"
        writer = _write_table if form == "table" else _write_image
        writer(path, _header(chunk, star, names[-1], snr_N[star]), flux_NP[star], error_NP[star])
        on_file(path, 1)
    return {"object": names, "file": files, "snr": snr_N}


def _header(chunk: Chunk, star: int, name: str, snr: float) -> list[dict[str, Any]]:
    targets = chunk.targets
    values = {
        "OBJECT": name,
        "RA": float(targets.ra_N[star]),
        "DEC": float(targets.dec_N[star]),
        "MJD-OBS": 56000.0 + chunk.index + star / 100,
        "EXPTIME": 1500.0,
        "INSTRUME": "GIRAFFE",
        "SPECSYS": "BARYCENT",
        "VHELIO": float(targets.velocity_N[star]),
        "SNR": float(snr),
    }
    return [{"name": key, "value": value} for key, value in values.items()]


def _write_table(path: Path, header: list[dict[str, Any]], flux_P: np.ndarray, error_P: np.ndarray) -> None:
    """One row; wavelengths in nm, and QUAL marks a few pixels where a cosmic ray hit."""
    quality_P = np.zeros(len(flux_P), np.int32)
    hit = int(flux_P[0]) % (len(flux_P) - 3)
    quality_P[hit : hit + 3] = 1
    flux_P = np.where(quality_P > 0, 5 * flux_P, flux_P)
    columns = {"WAVE": WAVE_AIR / 10, "FLUX": flux_P, "ERR": error_P, "QUAL": quality_P}
    kinds = {"WAVE": "f8", "FLUX": "f4", "ERR": "f4", "QUAL": "i4"}
    row = np.zeros(1, [(name, kinds[name], (len(flux_P),)) for name in columns])
    for name, values in columns.items():
        row[name][0] = values
    with replacing(path) as temporary, fitsio.FITS(str(temporary), "rw", clobber=True) as fits:
        fits.write_image(None, header=header)
        fits.write_table(row, extname="SPECTRUM", units=["nm", "adu", "adu", ""])


def _write_image(path: Path, header: list[dict[str, Any]], flux_P: np.ndarray, error_P: np.ndarray) -> None:
    """Flux and 1-sigma errors as two images, wavelengths in the header."""
    grid = {"CRVAL1": WAVE_AIR[0], "CDELT1": 0.05, "CRPIX1": 1.0, "CTYPE1": "AWAV", "CUNIT1": "Angstrom"}
    grid_cards = [{"name": key, "value": value} for key, value in grid.items()]
    with replacing(path) as temporary, fitsio.FITS(str(temporary), "rw", clobber=True) as fits:
        fits.write_image(flux_P.astype(np.float32), header=header + grid_cards)
        fits.write_image(error_P.astype(np.float32), extname="ERRS", header=grid_cards)


GIRAFFE: Final = Recipe(
    name="giraffe", keys=pa.schema([("object", pa.string()), ("file", pa.string())]), write=_write
)
