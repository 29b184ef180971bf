"""mwmStar and mwmVisit of SDSS-V: all APOGEE spectra of one star on the apStar grid, rows of binary tables.

One table per observatory, after those of BOSS spectra. A star without APOGEE spectra has no rows here.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from engine.errors import ShardCorrupt
from engine.spec import SurveySpec
from engine.surveys.apogee import headers, pixels
from engine.surveys.apogee.layout import GRID
from engine.surveys.apogee.names import base_name, star_of
from engine.surveys.assemble import Found
from engine.surveys.fits_headers import Hdu, walk
from engine.surveys.fits_tables import need, read_table
from engine.surveys.store import File, Store

TABLES = ("APOGEE/APO", "APOGEE/LCO")
ARRAYS = ("FLUX", "IVAR", "PIXEL_FLAGS")
# By numpy kind. Astra stores even the flags of pixels as floats.
CELLS = {
    **dict.fromkeys(("FLUX", "IVAR", "V_RAD", "E_V_RAD", "E_V_REL"), "f"),
    "PIXEL_FLAGS": "fiu",
    **dict.fromkeys(("SPECTRUM_FLAGS", "MJD", "FIBER"), "iu"),
    **dict.fromkeys(("TELESCOPE", "OBJ", "FIELD", "PLATE", "IN_STACK"), "U"),
}
# Astra resamples visits that are not part of the stack without any shift.
NOT_AT_REST = "in_stack is false: this visit was not shifted to rest; read its apVisit file"


def count_mwm(spec: SurveySpec, store: Store, name: str) -> int:
    """APOGEE spectra of the star; ShardCorrupt where a file of the other kind is needed for what is asked."""
    wanted = {"coadds": "mwmStar", "visits": "mwmVisit"}[spec.spectra]
    if not base_name(name).startswith(wanted):
        raise ShardCorrupt(
            f"no {spec.spectra} in this kind of file; they are in {wanted}: let survey.root hold "
            "only those, or change survey.spectra"
        )
    with store.open(name) as file:
        return sum(table.rows for table in _tables(file)[1])


def read_mwm(spec: SurveySpec, store: Store, name: str, start: int, stop: int) -> Found:
    """Rows [start, stop) of the star, those of Apache Point first."""
    with store.open(name) as file:
        head, tables = _tables(file)
        parts = [_read(file, *span, spec.spectra == "visits") for span in _spans(tables, start, stop)]
    if not parts:
        raise ShardCorrupt(f"{sum(table.rows for table in tables)} rows, expected {stop}")
    rows = {name: _joined([part[name] for part in parts]) for name in parts[0]}
    ids = rows.pop("obj")
    own = headers.text(head.value("APOGEEID"))
    star = headers.known({**star_of(name), **_star(head)}, stop - start)
    return {**star, "apogee_id": [found or own for found in ids], **rows}


def _tables(file: File) -> tuple[Hdu, list[Hdu]]:
    """The primary header, and the tables of APOGEE spectra with their grids checked."""
    head, *others = walk(file.fetch, file.size)
    tables = [hdu for hdu in others if hdu.name in TABLES]
    if [table.name for table in tables] != list(TABLES):
        raise ShardCorrupt(f"HDUs {[hdu.name for hdu in others]}, expected {TABLES[0]} and {TABLES[1]} once")
    for table in tables:
        if table.rows:
            _check_table(table)
    return head, tables


def _check_table(table: Hdu) -> None:
    width = table.value("NAXIS1")
    # Rows of a few bytes could claim to be any number.
    if not isinstance(width, int) or width < len(ARRAYS) * GRID.pixels:
        raise ShardCorrupt(f"HDU {table.name}: rows of {width!r} bytes hold no spectra")
    values = {keyword: table.value(keyword) for keyword in ("CRVAL", "CDELT", "CRPIX", "NPIXELS")}
    pixels.check_grid(values)
    if "air" in str(table.value("CUNIT", "")).lower():
        raise ShardCorrupt(f"HDU {table.name}: CUNIT = {table.value('CUNIT')!r}, expected vacuum")


def _spans(tables: Sequence[Hdu], start: int, stop: int) -> Iterator[tuple[Hdu, int, int]]:
    """The rows [start, stop) of all tables, as rows of each."""
    first = 0
    for table in tables:
        low, high = max(start - first, 0), min(stop - first, table.rows)
        if low < high:
            yield table, low, high
        first += table.rows


def _read(file: File, table: Hdu, start: int, stop: int, visits: bool) -> dict[str, Any]:
    """Columns of the rows [start, stop) of a table; `obj` is still to become apogee_id."""
    found = read_table(file, table, CELLS, start, stop, arrays=True)
    scalars = sorted({"TELESCOPE", "OBJ"} | (found.keys() - set(ARRAYS)))
    need(found, table, dict.fromkeys(ARRAYS, (GRID.pixels,)) | dict.fromkeys(scalars, ()))
    values = zip(*(found[name].tolist() for name in scalars), strict=True)
    rows = [_row(dict(zip(scalars, row, strict=True)), visits) for row in values]
    spectra = pixels.columns(
        found["FLUX"], found["IVAR"].astype(np.float64), pixels.whole_flags(found["PIXEL_FLAGS"])
    )
    at_rest_N = np.array([row["read_problem"] is None for row in rows])
    spectra["ivar_apogee"] = np.where(at_rest_N[:, None], spectra["ivar_apogee"], 0.0)
    return {name: [row[name] for row in rows] for name in rows[0]} | spectra


def _row(cell: dict[str, Any], visits: bool) -> dict[str, Any]:
    error = cell.get("E_V_REL" if visits else "E_V_RAD")
    parts = (cell.get(name) for name in ("PLATE", "MJD", "FIBER"))
    return {
        "obj": headers.text(cell["OBJ"]),
        "telescope": headers.text(cell["TELESCOPE"]),
        "field": headers.text(cell.get("FIELD")),
        "visit": "-".join(str(part).strip() for part in parts) if visits else None,
        **headers.velocities(cell.get("V_RAD"), error, cell.get("SPECTRUM_FLAGS")),
        "read_problem": NOT_AT_REST if cell.get("IN_STACK") == "F" else None,
    }


def _joined(parts: list[Any]) -> Any:
    """One column of all tables: arrays one below the other, or one list."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [value for part in parts for value in part]


def _star(head: Hdu) -> dict[str, Any]:
    magnitudes = [head.value(f"{band}_MAG") for band in ("G", "BP", "RP")]
    return {
        "sdss_id": headers.identifier(head.value("SDSS_ID")),
        **headers.position(head.value("RA"), head.value("DEC")),
        **headers.gaia(head.value("GAIA3_ID"), head.value("PLX"), magnitudes),
    }
