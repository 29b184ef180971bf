"""The data model: a page in Markdown of every file, column and flag of a release."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from catalogs.export.fits import described
from catalogs.export.known import Known
from catalogs.export.request import About
from catalogs.export.rows import Measured, Source, Stats
from catalogs.macros import flags_of
from catalogs.manifest import Manifest

PAGE = "datamodel.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table of a release: the file it is in, what is in it, and what was counted."""

    file: str
    source: Source
    measured: Measured


def data_model(tables: tuple[Table, ...], files: Mapping[str, str], known: Known, about: About) -> str:
    """The page; `files` are names and what they are. The first table is the catalog, a second its side."""
    lines = [f"# {about.title or known.title}", "", *_facts(known, about, tables[0]), ""]
    lines += ["## Files", "", "| file | what it is |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(what)} |" for name, what in files.items()]
    for table in tables:
        lines += ["", *_columns(table)]
    if tables[0].measured.flags:
        lines += ["", *_flags(tables[0].source.catalog.manifest, tables[0].measured)]
    return "\n".join([*lines, "", *_reading(tables[0].file)]) + "\n"


def _facts(known: Known, about: About, table: Table) -> Iterator[str]:
    facts = {
        "catalog": f"{known.name}, version {known.version}",
        "published": known.created,
        "rows": f"{table.measured.rows:,}",
        "selection": table.source.where,
        "licence": about.licence or known.bundle_licence,
        "survey": _joined(known.survey_title or known.survey, known.survey_reference),
        "model": _joined(known.bundle, known.architecture, known.model_reference),
        "bundle sha256": known.bundle_sha256,
        "Abundant": known.code,
        "plan digest": known.plan_digest,
    }
    yield from ("| | |", "|---|---|")
    yield from (f"| {name} | {_cell(value)} |" for name, value in facts.items() if value)
    for warning in known.warnings:
        yield f"| warning of the run | {_cell(warning)} |"


def _columns(table: Table) -> Iterator[str]:
    yield f"## Columns of {table.file}"
    yield ""
    yield (
        f"{table.measured.rows:,} rows. NULL is NaN in floats, TNULL in integers, no text in texts, "
        "a zero byte in booleans."
    )
    yield ""
    yield "| column | type | unit | UCD | known | least | greatest | description |"
    yield "|---|---|---|---|--:|--:|--:|---|"
    for field in table.source.fields:
        about, stats = described(field), table.measured.columns[field.name]
        cells = (
            f"`{field.name}`",
            _type(str(field.type)),
            about.get("unit", ""),
            about.get("ucd", ""),
            f"{stats.known:,}",
            *_range(stats),
            about.get("description", ""),
        )
        yield f"| {' | '.join(map(_cell, cells))} |"


def _range(stats: Stats) -> tuple[str, str]:
    """Least and greatest; integers in full, since they are ids."""
    shown = [
        "" if one is None else str(one) if isinstance(one, int) else f"{one:.7g}"
        for one in (stats.low, stats.high)
    ]
    return shown[0], shown[1]


def _flags(manifest: Manifest, measured: Measured) -> Iterator[str]:
    yield "## Bits of flags"
    yield ""
    yield "| bit | value | name | rows | severity | meaning |"
    yield "|--:|--:|---|--:|---|---|"
    said = {flag["name"]: flag for flag in manifest.get("flags", [])}
    for name, value in flags_of(manifest).items():
        entry = said.get(name)
        words = (entry["severity"], entry["text"]) if entry else ("", "")
        cells = (str(value.bit_length() - 1), str(value), name, f"{measured.flags[name]:,}", *words)
        yield f"| {' | '.join(map(_cell, cells))} |"


def _reading(file: str) -> Iterator[str]:
    yield from ("## Reading it", "", "```python", "from astropy.table import Table", "")
    yield from (f'stars = Table.read("{file}", hdu="CATALOG")', "```", "")
    yield "Integers that are NULL are masked. Booleans that are NULL astropy shows as False."
    yield "`sha256sum -c SHA256SUMS` checks the files."


def _type(kind: str) -> str:
    return kind.replace("fixed_size_list<element: ", "list<").replace("[", " × ").removesuffix("]")


def _joined(*parts: str | None) -> str:
    return "; ".join(part for part in parts if part)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
