"""A sample as the CDS and the journals want it: fixed columns of ASCII, and a ReadMe, both by cdspyreadme.

What cdspyreadme 1.9.2 cannot do is done before: it fills masked integers with -999999 (so they must be wide),
reads the format of a float from Python's text of every value (so ours is given), knows neither booleans nor
lists, and its own ReadMe has placeholders (so ours is a template without any).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import wrap
from typing import Any

import numpy as np
import pyarrow as pa
from astropy.table import MaskedColumn, Table
from cdspyreadme import CDSTablesMaker

from catalogs.export.fits import described
from catalogs.export.known import Known
from catalogs.export.request import About
from catalogs.export.words import ascii_text, cds_unit
from catalogs.manifest import Manifest

DATA = "sample.dat"
README = "ReadMe"
WIDTH = 80
# float32 holds 7 digits and a little, float64 enough for micro-arcseconds.
DIGITS = {"float32": 7, "float64": 12}


def write_mrt(
    folder: Path, rows: pa.Table, *, total: int, known: Known, about: About, manifest: Manifest
) -> None:
    """Write sample.dat and its ReadMe into a folder; the sample stands for `total` rows."""
    kept = [name for name in rows.column_names if _is_written(rows[name])]
    columns = {name: _column(rows.schema.field(name), rows[name]) for name in kept}
    maker: Any = CDSTablesMaker(outfolder=str(folder), license=ascii_text(_licence(known, about)))
    made = maker.addTable(
        Table(list(columns.values())), name=DATA, description=f"Sample of {len(rows)} of {total} rows"
    )
    for name in kept:
        column, kind = made.get_column(name), rows.schema.field(name).type
        column.unit = cds_unit(described(rows.schema.field(name)).get("unit", ""))
        if pa.types.is_floating(kind):
            column.set_format(_format(columns[name], DIGITS[str(columns[name].dtype)]))
        if name == "flags":
            column.note = _flag_note(manifest)
    _describe(maker, [name for name in rows.column_names if name not in kept], known, about)
    maker.writeCDSTables()
    with TemporaryDirectory(prefix="abundant-") as scratch:
        template = Path(scratch) / README
        template.write_text(_template(about, known), encoding="ascii")
        maker.setReadmeTemplate(str(template))
        maker.makeReadMe()


def _is_written(column: pa.ChunkedArray) -> bool:
    """Lists have no place in fixed columns; and a column without a single value tells nothing."""
    if pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type):
        return False
    return any(value not in (None, "") for value in column.to_pylist())


def _column(field: pa.Field, column: pa.ChunkedArray) -> Any:
    mask = column.is_null().to_numpy()
    description = ascii_text(described(field).get("description") or field.name)
    values: Any
    if field.type == pa.string():
        values = np.array([ascii_text(text or "") for text in column.to_pylist()], dtype=str)
    elif pa.types.is_floating(field.type):
        values = column.fill_null(0).to_numpy()
    else:
        values = column.cast(pa.int64()).fill_null(0).to_numpy()
        description += " (0 = no, 1 = yes)" if field.type == pa.bool_() else ""
    return MaskedColumn(values, name=field.name, mask=mask, description=description)


def _format(column: Any, digits: int) -> str:
    """A Fortran format that keeps so many digits of a usual value and has room for the largest.

    With an exponent where usual values are tiny or huge, or the largest is out of all proportion.
    """
    sizes = np.abs(np.asarray(column.compressed(), np.float64))
    usual, largest = (float(f(sizes)) for f in (np.median, np.max))
    before = len(str(int(largest)))
    after = max(1, digits - len(str(int(usual))))
    if not 1e-2 <= max(usual, largest * 1e-3) < 1e9 or before + after > 2 * digits:
        return f"E{digits + 7}.{digits}"
    return f"F{before + after + 2}.{after}"


def _flag_note(manifest: Manifest) -> str:
    lines = [f"{flag['name']} ({flag['severity']}): {flag['text']}" for flag in manifest.get("flags", [])]
    bits = [flag.get("bit", "?") for flag in manifest.get("flags", [])]
    listed = [f"bit {bit} = {ascii_text(line)}" for bit, line in zip(bits, lines, strict=True)]
    return "\n".join(["Bits of flags:", *(row for one in listed for row in _wrapped(one, "    "))])


def _describe(maker: Any, missing: Sequence[str], known: Known, about: About) -> None:
    maker.title = ascii_text(about.title or known.title)
    maker.author = ascii_text(about.creators[0].name) if about.creators else ""
    # An empty text makes it fail.
    maker.authors = " "
    for creator in about.creators:
        maker.add_author(ascii_text(creator.name))
    maker.date = (known.created or "")[:4]
    maker.catalogue = ascii_text(f"{known.name}/{known.version}")
    maker.abstract = ascii_text(about.description or _abstract(known))
    maker.keywords = ascii_text(" ; ".join(about.keywords))
    maker.more_description = ascii_text(
        "Blanks are unknown values. Left out of the sample, being empty or lists: "
        f"{', '.join(missing)}." if missing else "Blanks are unknown values."
    )  # fmt: skip


def _abstract(known: Known) -> str:
    by = f" by the model {known.bundle} ({known.architecture})" if known.bundle else ""
    code = f", Abundant {known.code}" if known.code else ""
    return f"Labels of stars with errors and flags, inferred from spectra{by}{code}."


def _template(about: About, known: Known) -> str:
    """The ReadMe's frame: sections of which nothing is known are not there."""
    return "\n".join(_sections(about, known)) + "\n"


def _sections(about: About, known: Known) -> Iterator[str]:
    line = "=" * WIDTH
    by = "($author, $date)" if about.creators and known.created else ""
    yield f"$catalogue {by:>{WIDTH - 2 - len(known.name) - len(known.version)}}".rstrip()
    yield from (line, "$title")
    if about.creators:
        yield "    $authors"
    yield line
    if about.keywords:
        yield from ("Keywords: $keywords", "")
    yield from ("Abstract:", "  $abstract", "", "Description:", "  $description", "")
    yield from ("File Summary:", "-" * WIDTH, "$tablesIndex", "-" * WIDTH, "", "$bytebybyte")
    if references := [one for one in (known.survey_reference, known.model_reference) if one]:
        yield "References:"
        yield from (row for one in references for row in _wrapped(_plain(one), "  "))
        yield ""
    if _licence(known, about):
        yield from ("License: $license",)
    yield line


def _licence(known: Known, about: About) -> str:
    return about.licence or known.bundle_licence or ""


def _plain(text: str) -> str:
    """ASCII in which no dollar is taken for a field of the template."""
    return ascii_text(text).replace("$", "$$")


def _wrapped(text: str, indent: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=indent, subsequent_indent=f"{indent}  ")
