"""A catalog as one FITS table, streamed: memory does not grow with the number of rows.

The header is astropy's, the cells are ours, the checksums are cfitsio's. A header is written with room for
them, since cfitsio would otherwise move all data by a block.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from textwrap import wrap
from typing import Any, TypeAlias

import fitsio
import pyarrow as pa
from astropy.io.fits import Header

from catalogs.export.cells import Cell, cells_of, packed, row_type
from catalogs.export.known import Known, known
from catalogs.export.place import need
from catalogs.export.request import About, Step
from catalogs.export.rows import Measured, Source, rows
from catalogs.export.words import ascii_text, fits_unit
from catalogs.layout import MANIFEST, sha256_file
from catalogs.macros import flags_of
from catalogs.manifest import Manifest
from engine.errors import RunError

BLOCK = 2880
COMMENT = 72
EXTENSION = "CATALOG"

Cards: TypeAlias = Mapping[str, tuple[str | None, str]]
"""Keyword -> value, comment."""


def write_fits(path: Path, source: Source, measured: Measured, *, about: About, on_step: Step) -> None:
    """Write the wanted rows to a new file; RunError for a disk too small, or a catalog that changes."""
    cells = cells_of(source.fields, measured)
    primary = _bytes(_primary(known(source.catalog.manifest), about, source))
    table = _bytes(_table(cells, measured.rows, source.catalog.manifest))
    need(path, len(primary) + len(table) + measured.rows * row_type(cells).itemsize + BLOCK)
    with path.open("wb") as file:
        file.write(primary + table)
        done = 0
        with rows(source) as batches:
            for batch in batches:
                file.write(packed(batch, cells).tobytes())
                done += len(batch)
                on_step("writing FITS", done, measured.rows)
        file.write(b"\0" * (-file.tell() % BLOCK))
    if done != measured.rows:
        raise RunError(
            f"{source.catalog.path} changed: {measured.rows:,} rows were counted, {done:,} were read"
        )
    on_step("checksums", 0, 1)
    _seal(path)
    on_step("checksums", 1, 1)


def _seal(path: Path) -> None:
    """Fill in CHECKSUM and DATASUM of both HDUs."""
    with fitsio.FITS(str(path), "rw") as file:
        for hdu in file:
            hdu.write_checksum()


def _bytes(header: Header) -> bytes:
    header["CHECKSUM"] = ("0" * 16, "HDU checksum")
    header["DATASUM"] = ("0", "data unit checksum")
    return header.tostring().encode("ascii")


def _primary(origin: Known, about: About, source: Source) -> Header:
    """The first HDU: no data, but what this is and where it comes from."""
    header = Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])
    for key, (value, comment) in {**_provenance(origin), **_about_file(origin, about, source)}.items():
        if value:
            # A card has 80 characters: beside a sha256 there is no room for words.
            header[key] = (ascii_text(value), comment if len(value) + len(comment) < 60 else None)
    for warning in origin.warnings:
        for line in wrap(ascii_text(f"warning of the run: {warning}"), COMMENT):
            header.add_history(line)
    return header


def _provenance(origin: Known) -> Cards:
    return {
        "CATALOG": (origin.name, "name of the catalog"),
        "CATVERS": (origin.version, "its version"),
        "CATDATE": (origin.created, "when it was published"),
        "PLANSHA": (origin.plan_digest, "digest of its plan"),
        "SURVEY": (origin.survey, "survey of the spectra"),
        "SURVREF": (origin.survey_reference, "its reference"),
        "BUNDLE": (origin.bundle, "trained model"),
        "BUNSHA": (origin.bundle_sha256, "sha256 of its card"),
        "MODEL": (origin.architecture, "its network"),
        "CODEVERS": (origin.code, "Abundant that made the labels"),
    }


def _about_file(origin: Known, about: About, source: Source) -> Cards:
    return {
        "MANISHA": (sha256_file(source.catalog.path / MANIFEST), "sha256 of its manifest.json"),
        "SELECT": (source.where, "condition on the rows"),
        "TITLE": (about.title, "title"),
        "AUTHOR": ("; ".join(one.name for one in about.creators), "who made the catalog"),
        "LICENCE": (about.licence or origin.bundle_licence, "licence"),
        "CREATOR": (f"Abundant {version('abundant')}", "what wrote this file"),
        "DATE": (datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"), "when, UTC"),
    }


def _table(cells: Sequence[Cell], number: int, manifest: Manifest) -> Header:
    """The header of the table."""
    header = Header([("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2)])
    header["NAXIS1"] = (row_type(cells).itemsize, "bytes of a row")
    header["NAXIS2"] = (number, "rows")
    for key, value in (("PCOUNT", 0), ("GCOUNT", 1), ("TFIELDS", len(cells)), ("EXTNAME", EXTENSION)):
        header[key] = value
    for place, cell in enumerate(cells, 1):
        for key, value in _column(cell):
            header[f"{key}{place}"] = value
    if any(cell.field.name == "flags" for cell in cells):
        _describe_flags(header, manifest)
    return header


def _column(cell: Cell) -> Iterator[tuple[str, Any]]:
    about = described(cell.field)
    yield "TTYPE", cell.field.name
    yield "TFORM", cell.form
    if unit := about.get("unit"):
        yield "TUNIT", fits_unit(unit)
    if cell.null is not None:
        yield "TNULL", cell.null
    if ucd := about.get("ucd"):
        yield "TUCD", ucd
    if description := about.get("description"):
        yield "TCOMM", ascii_text(description)


def _describe_flags(header: Header, manifest: Manifest) -> None:
    """FLAGBn = name of bit n, and a comment that says what it means."""
    texts = {flag["name"]: f"{flag['severity']}: {flag['text']}" for flag in manifest.get("flags", [])}
    for name, value in flags_of(manifest).items():
        bit = value.bit_length() - 1
        header[f"FLAGB{bit}"] = (name, f"bit {bit} of flags")
        if name in texts:
            for line in wrap(ascii_text(f"{name} = {texts[name]}"), COMMENT):
                header.add_comment(line)


def described(field: pa.Field) -> dict[str, str]:
    """Unit, UCD and description of a column, as far as it has them."""
    return {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
