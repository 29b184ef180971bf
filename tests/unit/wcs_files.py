"""One-dimensional FITS spectra made in code, and how tests read them through a survey."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fitsio
import numpy as np
import pyarrow as pa
from astropy.io import fits
from scipy.ndimage import gaussian_filter1d

from engine.spec import SurveySpec
from engine.surveys.survey import Survey
from engine.types import Task

FWHM_PER_SIGMA = 2.3548


def spec_of(survey: Survey, root: Path, **more: Any) -> SurveySpec:
    """All rows under a root."""
    return SurveySpec.model_validate(
        {"name": survey.name, "root": str(root), "select": {"by": "all"}, **more}
    )


def rows_of(survey: Survey, root: Path, **more: Any) -> pa.Table:
    """Every row under a root, through the listing and the reader."""
    spec = spec_of(survey, root, **more)
    tables = [
        survey.read(spec, Task(task_id=str(k), shard=shard, start=0, stop=shard.rows))
        for k, shard in enumerate(survey.list_shards(spec))
        if shard.rows or shard.problem
    ]
    return pa.concat_tables(tables)


def array(table: pa.Table, name: str) -> np.ndarray:
    """A tensor column as numpy, shape (N, pixels)."""
    return table[name].combine_chunks().to_numpy_ndarray()


def pixels_of(path: Path, hdu: int | str = 0) -> np.ndarray:
    """The image of an HDU as another library sees it, as float64."""
    return np.asarray(fitsio.read(str(path), ext=hdu), np.float64)


def write_hdus(path: Path, primary: Mapping[str, Any], *hdus: Any, flux: Any = None) -> Path:
    """A FITS file whose primary HDU has these header values, and its pixels if `flux` is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = fits.PrimaryHDU(flux, header=fits.Header(dict(primary)))
    fits.HDUList([first, *hdus]).writeto(path, overwrite=True)
    return path


def image_hdu(values: Any, name: str = "", **header: Any) -> fits.ImageHDU:
    """An image extension."""
    hdu = fits.ImageHDU(np.asarray(values), header=fits.Header(header))
    if name:
        hdu.name = name
    return hdu


def linear(start: float, step: float, unit: str = "Angstrom") -> dict[str, Any]:
    """The header of a linear grid."""
    return {"CRVAL1": start, "CDELT1": step, "CRPIX1": 1.0, "CUNIT1": unit}


def table_hdu(units: Mapping[str, str] | None = None, **arrays: Any) -> fits.BinTableHDU:
    """A table of one row whose cells are arrays, as ESO writes it."""
    columns = [
        fits.Column(
            name=name,
            format=f"{len(values)}{'J' if np.asarray(values).dtype.kind == 'i' else 'D'}",
            unit=(units or {}).get(name),
            array=np.asarray(values)[None, :],
        )
        for name, values in arrays.items()
    ]
    return fits.BinTableHDU.from_columns(columns)


def degraded(wave_P: np.ndarray, flux_P: np.ndarray, power: float, grid_Q: np.ndarray) -> np.ndarray:
    """A spectrum at a lower resolving power, on another grid. `wave_P` has equal steps."""
    step = float(np.median(np.diff(wave_P)))
    sigma = float(grid_Q.mean()) / power / FWHM_PER_SIGMA / step
    return np.interp(grid_Q, wave_P, gaussian_filter1d(flux_P.astype(np.float64), sigma))


def damage(whole: bytes, cuts: list[tuple[int, int]], keep: float) -> bytes:
    """Some bytes of a file replaced, and its end cut off."""
    broken = bytearray(whole)
    for place, value in cuts:
        broken[place % len(broken)] = value
    return bytes(broken[: int(len(broken) * keep)])
