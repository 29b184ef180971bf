"""Small files of each APOGEE kind, made in code after the SDSS data model, with knobs for what tests turn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.io import fits

from engine.spec import SurveySpec
from engine.surveys.survey import Survey
from engine.types import Task

PIXELS = 8575
GAP = slice(3306, 3545)
STAR = "2M00452143+1634446"
GAIA = 5593130580092485504  # beyond 2**53, and no float64
SDSS_ID = 99560000
LOG_GRID = {"CRVAL1": 4.179, "CDELT1": 6e-6, "CRPIX1": 1, "CTYPE1": "LOG-LINEAR", "DC-FLAG": 1}
CHIP_ENDS = ((16955.1, 16473.1), (16435.8, 15857.7), (15810.6, 15143.0))


def spectra(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flux, 1-sigma error and mask with a gap between chips, as apStar has them."""
    rng = np.random.default_rng(seed)
    flux = rng.normal(100, 1, (rows, PIXELS)).astype(np.float32)
    error = np.full((rows, PIXELS), 2, np.float32)
    mask = np.zeros((rows, PIXELS), np.int16)
    flux[:, GAP], error[:, GAP], mask[:, GAP] = 0, 1e10, 1
    return flux, error, mask


def star_header(visits: int) -> dict[str, Any]:
    """The primary header of a DR13 apStar file."""
    head = {"OBJID": STAR, "TELESCOP": "apo25m", "FIELD": "120-45", "RA": 11.339304, "DEC": 16.579082}
    head |= {"NVISITS": visits, "VRAD": 0.0, "VHELIO": 6.5, "VERR": 0.1, "STARFLAG": 131076 + 16}
    for k in range(1, visits + 1):
        head |= {f"SFILE{k}": f"apVisit-r6-6561-{56586 + k}-13{k}.fits", f"VRAD{k}": 20.0 + k}
        head |= {f"VHELIO{k}": 6.0 + k, f"VERR{k}": 0.5, f"FLAG{k}": 4}
    return head


def write_star(
    path: Path,
    *,
    visits: int = 3,
    header: Mapping[str, Any] | None = None,
    arrays: Sequence[np.ndarray] | None = None,
    grid: Mapping[str, Any] = LOG_GRID,
) -> Path:
    """An apStar file; `header` adds to the primary one or, where None, takes away. 0: a vector, one visit."""
    rows = visits + 2 if visits > 1 else 1
    flux, error, mask = spectra(rows) if arrays is None else arrays
    head = _header(star_header(max(visits, 1)), header or {})
    if visits == 0:
        flux, error, mask = flux[0], error[0], mask[0]
    images = [fits.ImageHDU(values, _header(grid, {})) for values in (flux, error, mask)]
    return _write(path, [fits.PrimaryHDU(header=head), *images])


def write_aspcap(path: Path, *, cells: Mapping[str, Any] | None = None) -> Path:
    """An aspcapStar file: normalised flux, error, best fit, and a row of allStar."""
    flux, error, _ = spectra(1)
    images = [fits.ImageHDU(values[0], _header(LOG_GRID, {})) for values in (flux / 100, error / 100, flux)]
    row = {"APOGEE_ID": STAR, "TELESCOPE": "lco25m", "FIELD": "K01", "RA": 11.3, "DEC": 16.5}
    row |= {"FPARAM": np.arange(7, dtype=np.float32), "STARFLAG": np.int64(1 << 3 | 1 << 9)}
    row |= {"GAIAEDR3_SOURCE_ID": np.int64(GAIA), "GAIAEDR3_PHOT_G_MEAN_MAG": np.float32(12.5)}
    row |= {"GAIAEDR3_PARALLAX": np.float32(1.5), "VHELIO_AVG": np.float32(-7.25), **(cells or {})}
    return _write(path, [fits.PrimaryHDU(), *images, table("", [row])])


def mwm_row(number: int, **cells: Any) -> dict[str, Any]:
    """A row of mwmVisit; mwmStar has no use for a part of it."""
    flux, error, mask = spectra(1, seed=number)
    row = {"release": "sdss5", "sdss_id": np.int64(SDSS_ID), "plate": "15303", "telescope": "apo25m"}
    row |= {"fiber": np.int32(100 + number), "mjd": np.int32(59280), "field": "100001", "obj": STAR}
    row |= {"in_stack": True, "spectrum_flags": np.int64(1 << 4 | 1 << 2), "v_rad": np.float32(12.5)}
    row |= {"e_v_rad": np.float32(0.25), "e_v_rel": np.float32(0.75)}
    ivar = (error[0].astype(np.float64) ** -2).astype(np.float32)
    return row | {"flux": flux[0], "ivar": ivar, "pixel_flags": mask[0].astype(np.float32), **cells}


def write_mwm(
    path: Path,
    *,
    apo: Sequence[dict[str, Any]] = (),
    lco: Sequence[dict[str, Any]] = (),
    header: Mapping[str, Any] | None = None,
    grid: Mapping[str, Any] | None = None,
) -> Path:
    """An mwmStar or mwmVisit file with these rows of each observatory."""
    head = {"SDSS_ID": SDSS_ID, "APOGEEID": STAR, "GAIA2_ID": 1, "GAIA3_ID": GAIA, "RA": 113.17667}
    head |= {"DEC": -31.404102, "PLX": 0.0858, "G_MAG": 13.107358, "BP_MAG": 13.558252, "RP_MAG": "NaN"}
    axis = {"CRVAL": 4.179, "CDELT": 6e-6, "CRPIX": 1, "NPIXELS": PIXELS, "CUNIT": "Angstrom (Vacuum)"}
    tables = [
        table("BOSS/APO", []),
        table("BOSS/LCO", []),
        table("APOGEE/APO", apo),
        table("APOGEE/LCO", lco),
    ]
    for hdu in tables[2:]:
        hdu.header.update(axis | dict(grid or {}))
    return _write(path, [fits.PrimaryHDU(header=_header(head, header or {})), *tables])


def table(name: str, rows: Sequence[dict[str, Any]]) -> fits.BinTableHDU:
    """A binary table with a column for every key; one of ids where there are no rows."""
    if not rows:
        return fits.BinTableHDU.from_columns(
            [fits.Column("sdss_id", "K", array=np.zeros(0, ">i8"))], name=name
        )
    columns = []
    for key, first in rows[0].items():
        values = np.array([row[key] for row in rows])
        code = {"U": "A", "b": "L", "i": "J", "f": "E"}[values.dtype.kind]
        code = {"int64": "K", "float64": "D"}.get(str(values.dtype), code) if code != "L" else code
        count = max(map(len, values)) if code == "A" else np.size(first)
        columns.append(fits.Column(key, f"{count}{code}", array=values))
    return fits.BinTableHDU.from_columns(columns, name=name)


def chips(pixels: int = 4096) -> np.ndarray:
    """Descending wavelengths of the three chips."""
    return np.stack([np.linspace(*ends, pixels) for ends in CHIP_ENDS])


def write_visit(
    path: Path,
    *,
    header: Mapping[str, Any] | None = None,
    arrays: Mapping[int, np.ndarray] | None = None,
    pixels: int = 4096,
    summary: Mapping[str, Any] | None = None,
) -> Path:
    """An apVisit file of DR13; `arrays` replaces images by HDU number, `summary` is the last HDU's row."""
    head = {"PLATE": "4914", "TELESCOP": "apo25m", "MJD5": 55807, "FIBERID": 100, "OBJID": STAR, "RA": 299.7}
    head |= {"DEC": 20.5, "STARFLAG": 2048, "BC": -20.0, "VRAD": 30.0, "VRADERR": 1.6, "VHELIO": 10.0}
    shape = (3, pixels)
    images = {1: np.full(shape, 100, np.float32), 2: np.ones(shape, np.float32), 3: np.zeros(shape, np.int16)}
    images |= {4: chips(pixels), **{k: np.zeros((3, 4), np.float32) for k in range(5, 11)}, **(arrays or {})}
    hdus = [fits.ImageHDU(images[k]) for k in sorted(images)]
    return _write(
        path, [fits.PrimaryHDU(header=_header(head, header or {})), *hdus, table("", [summary or {"X": 1}])]
    )


def _header(cards: Mapping[str, Any], changes: Mapping[str, Any]) -> fits.Header:
    header = fits.Header()
    for keyword, value in {**cards, **changes}.items():
        if value is not None:
            header[keyword] = value
    return header


def _write(path: Path, hdus: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList(list(hdus)).writeto(path, overwrite=True)
    return path


def survey_spec(survey: Survey, root: Path, **sections: Any) -> SurveySpec:
    """A spec that selects everything."""
    return SurveySpec.model_validate({"name": survey.name, "root": root, "select": {"by": "all"}, **sections})


def read_all(survey: Survey, root: Path, **sections: Any) -> pa.Table:
    """Every row of every file under a root."""
    spec = survey_spec(survey, root, **sections)
    shards = list(survey.list_shards(spec))
    tasks = (Task(task_id="t", shard=shard, start=0, stop=shard.rows) for shard in shards)
    return pa.concat_tables([survey.read(spec, task) for task in tasks])


def array(table: pa.Table, name: str) -> np.ndarray:
    """A tensor column as numpy, shape (rows, pixels)."""
    return table[name].combine_chunks().to_numpy_ndarray()
