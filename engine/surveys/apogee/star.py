"""apStar, asStar and aspcapStar: one star per file, resampled to the apStar grid at rest.

apStar and asStar hold rows: two coadds (weighted by pixel, weighted as a whole), then the visits; or a single
row, also as a plain vector, when there was one visit. aspcapStar holds one pseudo-continuum-normalised coadd.
"""

from typing import Any

import numpy as np

from engine.errors import ShardCorrupt
from engine.spec import SurveySpec
from engine.surveys.apogee import headers, pixels
from engine.surveys.apogee.layout import GRID
from engine.surveys.apogee.names import star_of, visit_name
from engine.surveys.assemble import Found
from engine.surveys.fits_headers import Hdu
from engine.surveys.fits_tables import read_table
from engine.surveys.store import Store

COADDS = 2

# What we use of the row of allStar that aspcapStar ends with, by numpy kind.
ASPCAP_CELLS = {
    **dict.fromkeys(("APOGEE_ID", "TELESCOPE", "FIELD"), "U"),
    **dict.fromkeys(("STARFLAG", "GAIAEDR3_SOURCE_ID"), "iu"),
    **dict.fromkeys(("RA", "DEC", "VHELIO_AVG", "VERR", "GAIAEDR3_PARALLAX"), "f"),
    **dict.fromkeys((f"GAIAEDR3_PHOT_{band}_MEAN_MAG" for band in ("G", "BP", "RP")), "f"),
}


def count_star(spec: SurveySpec, store: Store, name: str) -> int:
    """Spectra in an apStar or asStar file: the coadd, which each has, or the visits."""
    if spec.spectra == "coadds":
        return 1
    with store.open(name) as file:
        return _visits(*pixels.first_hdus(file, 2))


def read_star(spec: SurveySpec, store: Store, name: str, start: int, stop: int) -> Found:
    """The coadd weighted by pixel, or the visits [start, stop), of an apStar or asStar file."""
    count = stop - start
    with store.open(name) as file:
        head, flux, error, mask = pixels.first_hdus(file, 4)
        first = start if spec.spectra == "coadds" else _first_visit(head, flux) + start
        _check(flux, (error, mask))
        spectra = pixels.columns(
            pixels.floats(file, flux, "flux", first, count),
            pixels.inverse_variance(pixels.floats(file, error, "errors", first, count)),
            pixels.flags(file, mask, "masks", first, count),
        )
    star = headers.known({**star_of(name), **_star(head)}, count)
    rows = headers.known(_coadd(head), 1) if spec.spectra == "coadds" else _visit_rows(head, start, stop)
    return {**star, **rows, **spectra}


def count_aspcap(spec: SurveySpec, _store: Store, _name: str) -> int:
    """One spectrum in an aspcapStar file, and ShardCorrupt where visits are asked for."""
    if spec.spectra == "visits":
        raise ShardCorrupt('aspcapStar holds no visits; use survey.spectra = "coadds", or apStar files')
    return 1


def read_aspcap(_spec: SurveySpec, store: Store, name: str, _start: int, _stop: int) -> Found:
    """The spectrum of an aspcapStar file. It has no mask: ASPCAP raises the errors of bad pixels instead."""
    with store.open(name) as file:
        head, flux, error, _, table = pixels.first_hdus(file, 5)
        _check(flux, (error,))
        flux_1P = pixels.floats(file, flux, "flux", 0, 1)
        ivar_1P = pixels.inverse_variance(pixels.floats(file, error, "errors", 0, 1))
        found = read_table(file, table, ASPCAP_CELLS, 0, 1, arrays=True)
    facts = {**star_of(name), **_star(head), **_aspcap_star(found)}
    return {**headers.known(facts, 1), **pixels.columns(flux_1P, ivar_1P, np.zeros(flux_1P.shape, np.int64))}


def _rows(flux: Hdu) -> int:
    """Rows of the image of fluxes: a vector is one."""
    shape = flux.extent.shape
    rows = 1 if len(shape) == 1 else shape[0] if len(shape) == 2 else 0
    plain = flux.extent.dtype in pixels.FLOATS.values()
    if not plain or shape[-1:] != (GRID.pixels,) or rows in (0, COADDS):
        raise ShardCorrupt(
            f"HDU of flux: shape {shape} of {flux.extent.dtype or 'other'} numbers, expected floats, "
            f"({GRID.pixels},) or rows of {GRID.pixels}: one, or two coadds and the visits"
        )
    return rows


def _visits(head: Hdu, flux: Hdu) -> int:
    rows = _rows(flux)
    visits = 1 if rows == 1 else rows - COADDS
    if head.value("NVISITS") != visits:
        raise ShardCorrupt(f"{visits} rows of visits, expected NVISITS = {head.value('NVISITS')!r}")
    return visits


def _first_visit(head: Hdu, flux: Hdu) -> int:
    return COADDS if _visits(head, flux) < _rows(flux) else 0


def _check(flux: Hdu, others: tuple[Hdu, ...]) -> None:
    _rows(flux)
    for hdu in others:
        pixels.check_shape(hdu, "errors or masks", flux.extent.shape)
    keywords = {keyword: flux.value(keyword) for keyword in ("CRVAL1", "CDELT1")}
    pixels.check_grid({**keywords, "CRPIX1": flux.value("CRPIX1", 1), "NAXIS1": flux.value("NAXIS1")})


def _star(head: Hdu) -> dict[str, Any]:
    """What the primary header says of the star; only what it does say."""
    keys = headers.texts(
        apogee_id=head.value("OBJID"), telescope=head.value("TELESCOP"), field=head.value("FIELD")
    )
    return keys | headers.position(head.value("RA"), head.value("DEC"))


def _coadd(head: Hdu) -> dict[str, Any]:
    # Before SDSS-V, VRAD is the shift that is left in the spectrum (0); in SDSS-V it is what VHELIO was.
    rv = head.value("VHELIO", head.value("VRAD"))
    return headers.velocities(rv, head.value("VERR"), head.value("STARFLAG"))


def _visit_rows(head: Hdu, start: int, stop: int) -> dict[str, list[Any]]:
    """What the primary header says of each visit."""
    rows = [_visit(head, number) for number in range(start + 1, stop + 1)]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _visit(head: Hdu, number: int) -> dict[str, Any]:
    rv = head.value(f"VHELIO{number}", head.value(f"VRAD{number}"))
    facts = headers.velocities(rv, head.value(f"VERR{number}"), head.value(f"FLAG{number}"))
    file = headers.text(head.value(f"SFILE{number}"))
    return {"visit": visit_name(file) if file else f"visit {number}", **facts}


def _aspcap_star(found: dict[str, Any]) -> dict[str, Any]:
    cell = {name: values[0].item() for name, values in found.items() if values.ndim == 1}
    names = {"apogee_id": "APOGEE_ID", "telescope": "TELESCOPE", "field": "FIELD"}
    magnitudes = [cell.get(f"GAIAEDR3_PHOT_{band}_MEAN_MAG") for band in ("G", "BP", "RP")]
    return {
        **headers.texts(**{name: cell.get(column) for name, column in names.items()}),
        **headers.position(cell.get("RA"), cell.get("DEC")),
        **headers.gaia(cell.get("GAIAEDR3_SOURCE_ID"), cell.get("GAIAEDR3_PARALLAX"), magnitudes),
        **headers.velocities(cell.get("VHELIO_AVG"), cell.get("VERR"), cell.get("STARFLAG")),
    }
