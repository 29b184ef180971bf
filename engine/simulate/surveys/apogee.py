"""APOGEE's apStar files, in the layout of DR17: coadds and visits of a star, on one grid at rest.

Legend: V visits, R rows, P pixels.
"""

from pathlib import Path
from typing import Any, Final

import fitsio
import numpy as np
import pyarrow as pa

from engine.simulate.surveys.apogee_light import WAVE, Rows, combine, h_magnitude, record, true_light
from engine.simulate.surveys.driver import OnFile, Recipe, replacing
from engine.simulate.surveys.names import apogee_id
from engine.simulate.surveys.stars import Chunk

Cards = list[dict[str, Any]]

# How many visits stars have; half of them one, whose files hold one row and no coadd beside it.
_VISITS: Final = (1, 1, 1, 3, 2, 1, 4, 1)
# SUSPECT_RV_COMBINATION and BRIGHT_NEIGHBOR warn, LOW_SNR rejects.
_STARFLAGS: Final = (0, 0, 0, 1 << 16, 0, 1 << 2)
_LOW_SNR: Final = 1 << 4
_UNITS: Final = {
    "Flux (10^-17 erg/s/cm^2/Ang)": "flux",
    "Error (10^-17 erg/s/cm^2/Ang)": "error",
    "Flag Mask (bitwise)": "mask",
    "Sky (10^-17 erg/s/cm^2/Ang)": "sky",
    "Sky error (10^-17 erg/s/cm^2/Ang)": "sky",
    "Telluric": "telluric",
    "Telluric error": "telluric",
}


def _write(folder: Path, chunk: Chunk, on_file: OnFile) -> dict[str, Any]:
    """Write an apStar (or asStar) file for each star of a chunk."""
    targets = chunk.targets
    light_NP = true_light(chunk, np.zeros(len(chunk)), WAVE)
    snr_N = chunk.snr(best=350.0, slope=0.35)
    telescope = "lco25m" if chunk.index % 4 == 3 else "apo25m"
    field = field_of(chunk)
    names = [apogee_id(ra, dec) for ra, dec in zip(targets.ra_N, targets.dec_N, strict=True)]
    for star, name in enumerate(names):
        count = _VISITS[(chunk.first + star) % len(_VISITS)]
        barycentric_V = chunk.rng.uniform(-28, 28, size=count)
        # The night sky stands still in the observatory's frame, so that its lines move from visit to visit.
        observed_V = targets.velocity_N[star] - barycentric_V
        visits = record(chunk.rng, light_NP[star], snr_N[star], observed_V)
        prefix = "asStar" if telescope == "lco25m" else "apStar"
        path = folder / "dr17" / "stars" / telescope / field / f"{prefix}-dr17-{name}.fits"
        header = _header(chunk, star, name, telescope, snr_N[star])
        write_star(path, header + _visit_cards(chunk, star, observed_V, barycentric_V), visits)
        on_file(path, 1)
    return {
        "apogee_id": names,
        "telescope": [telescope] * len(chunk),
        "field": [field] * len(chunk),
        "snr": snr_N,
    }


def field_of(chunk: Chunk) -> str:
    """The chunk's field, named after a position as APOGEE's are."""
    return f"{int(chunk.targets.ra_N[0]):03d}{int(chunk.targets.dec_N[0]):+03d}-{chunk.index}"


def write_star(path: Path, header: Cards, visits: Rows) -> None:
    """Write an apStar file: two coadds and the visits, or the only visit as vectors; ten HDUs as in DR17."""
    images = _images(visits)
    with replacing(path) as temporary, fitsio.FITS(str(temporary), "rw", clobber=True) as fits:
        fits.write_image(None, header=header)
        for unit, name in _UNITS.items():
            fits.write_image(images[name], header=_grid(unit))
        fits.write_image(np.zeros(26), header=[{"name": "BUNIT", "value": "LSF Coefficients"}])
        ccf = np.zeros(1, [("CHISQ", "f4", (3,)), ("CCF", "f4", (401,))])
        fits.write_table(ccf)


def _images(visits: Rows) -> dict[str, np.ndarray]:
    """The images of a file by name: vectors when there is one visit."""
    parts = [visits] if len(visits.flux_RP) == 1 else [combine(visits), combine(visits), visits]
    flux_RP, error_RP, mask_RP = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("flux_RP", "error_RP", "mask_RP")
    )
    images = {
        "flux": flux_RP.astype(np.float32),
        "error": error_RP.astype(np.float32),
        "mask": mask_RP,
        "sky": np.full(flux_RP.shape, 8.0, np.float32),
        "telluric": np.ones(flux_RP.shape, np.float32),
    }
    return {name: image[0] if len(image) == 1 else image for name, image in images.items()}


def _grid(unit: str) -> Cards:
    values = {
        "CRVAL1": 4.179,
        "CDELT1": 6e-6,
        "CRPIX1": 1,
        "CTYPE1": "LOG-LINEAR",
        "DC-FLAG": 1,
        "BUNIT": unit,
    }
    return cards(values)


def cards(values: dict[str, Any]) -> Cards:
    """Header cards."""
    return [{"name": name, "value": value} for name, value in values.items()]


def _header(chunk: Chunk, star: int, name: str, telescope: str, snr: float) -> Cards:
    targets = chunk.targets
    h = float(h_magnitude(chunk)[star])
    flag = _STARFLAGS[(chunk.first + star) % len(_STARFLAGS)] | (_LOW_SNR if snr < 5 else 0)
    values = {
        "OBJID": name,
        "J": h + 0.5,
        "H": h,
        "K": h - 0.1,
        "SURVEY": "apogee2",
        "TELESCOP": telescope,
        "LOCID": 5000 + chunk.index,
        "FIELD": field_of(chunk),
        "RA": float(targets.ra_N[star]),
        "DEC": float(targets.dec_N[star]),
        "VRAD": 0.0,
        "VHELIO": float(targets.velocity_N[star]),
        "VSCATTER": 0.1,
        "VERR": 0.05,
        "SNR": float(snr),
        "STARFLAG": flag,
        "ANDFLAG": flag,
    }
    return cards(values)


def _visit_cards(chunk: Chunk, star: int, observed_V: np.ndarray, barycentric_V: np.ndarray) -> Cards:
    values: dict[str, Any] = {"NVISITS": len(observed_V)}
    for number, (observed, barycentric) in enumerate(zip(observed_V, barycentric_V, strict=True), start=1):
        mjd = 57000 + 3 * chunk.index % 2000 + 30 * number
        values |= {
            f"SFILE{number}": f"apVisit-dr17-{9000 + chunk.index}-{mjd}-{star + 1:03d}.fits",
            f"FIBER{number}": star + 1,
            f"BC{number}": float(barycentric),
            f"VRAD{number}": float(observed),
            f"VERR{number}": 0.1,
            f"VHELIO{number}": float(observed + barycentric),
            f"FLAG{number}": 0,
        }
    return cards(values)


APOGEE: Final = Recipe(
    name="apogee",
    keys=pa.schema([("apogee_id", pa.string()), ("telescope", pa.string()), ("field", pa.string())]),
    write=_write,
)
