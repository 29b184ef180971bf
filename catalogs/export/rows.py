"""The rows and columns that leave a catalog: chosen, measured, streamed. DuckDB's locked view reads them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import pyarrow as pa

from catalogs.export.request import Selection
from catalogs.macros import flags_of
from catalogs.query import query, stream
from catalogs.read import Catalog, open_catalog
from catalogs.sql import name, slashed
from engine.errors import InputError

# UTF-8 of two bytes becomes six characters, \u0153; nothing grows more.
ESCAPED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A catalog, and what of it is wanted."""

    address: Path | str
    catalog: Catalog
    fields: tuple[pa.Field, ...]
    where: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """One column: values that are not NULL, least and greatest number, bytes of the longest text in ASCII."""

    known: int
    low: float | None = None
    high: float | None = None
    width: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was counted before anything is written: rows, columns by name, rows by flag."""

    rows: int
    columns: Mapping[str, Stats]
    flags: Mapping[str, int]


def source_of(address: Path | str, selection: Selection) -> Source:
    """A catalog and the wanted columns in the order asked for; InputError for one that it does not have."""
    catalog = open_catalog(address)
    names = selection.columns or tuple(catalog.schema.names)
    for wanted in names:
        if wanted not in catalog.schema.names:
            raise InputError(f"{catalog.path} has no column {wanted!r}{_near(wanted, catalog.schema.names)}")
    if repeated := sorted({one for one in names if names.count(one) > 1}):
        raise InputError(f"column {', '.join(repeated)} is asked for twice")
    fields = tuple(catalog.schema.field(one) for one in names)
    return Source(address=address, catalog=catalog, fields=fields, where=selection.where)


def measure(source: Source) -> Measured:
    """Counts, ranges and widths of what is wanted, in one pass. InputError for a condition that is no SQL."""
    flags = flags_of(source.catalog.manifest) if _has_flags(source) else {}
    wanted = [part for number, field in enumerate(source.fields) for part in _measures(number, field)]
    wanted += [f"count_if(flags & {value} <> 0) AS bit{value}" for value in flags.values()]
    sql = f"SELECT count(*) AS all_rows, {', '.join(wanted)} FROM catalog{_where(source)}"
    found = query(source.address, sql).to_pylist()[0]
    columns = {field.name: _stats(found, number) for number, field in enumerate(source.fields)}
    counts = {flag: found[f"bit{value}"] for flag, value in flags.items()}
    return Measured(rows=found["all_rows"], columns=columns, flags=counts)


@contextmanager
def rows(source: Source) -> Iterator[pa.RecordBatchReader]:
    """The wanted rows in the catalog's order, a batch at a time."""
    with _read(source, "") as found:
        yield found


def sample(source: Source, number: int) -> pa.Table:
    """So many of the wanted rows, chosen by a hash of their keys: the same ones each time, from all over."""
    order = f" ORDER BY md5({slashed(source.catalog.manifest['keys'])}) LIMIT {number}"
    with _read(source, order) as found:
        # DuckDB forgets units and descriptions.
        return found.read_all().cast(pa.schema(source.fields))


@contextmanager
def _read(source: Source, tail: str) -> Iterator[pa.RecordBatchReader]:
    columns = [field.name for field in source.fields]
    sql = f"SELECT {', '.join(map(name, columns))} FROM catalog{_where(source)}{tail}"
    with stream(source.address, sql) as found:
        if found.schema.names != columns:
            raise InputError("--where: give a condition on a row, such as good('teff') AND snr > 50")
        yield found


def _where(source: Source) -> str:
    # On lines of its own: a comment at its end hides nothing.
    return f" WHERE (\n{source.where}\n)" if source.where else ""


def _has_flags(source: Source) -> bool:
    return "flags" in {field.name for field in source.fields}


def _measures(number: int, field: pa.Field) -> list[str]:
    """SQL of what is measured of one column."""
    column = name(field.name)
    parts = [f"count({column}) AS known{number}"]
    if field.type == pa.string():
        parts += [
            f"max(strlen({column})) AS bytes{number}",
            f"bool_or(strlen({column}) <> length({column})) AS odd{number}",
        ]
    elif pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
        parts += [f"min({column}) AS low{number}", f"max({column}) AS high{number}"]
    return parts


def _stats(found: Mapping[str, int | float | None], number: int) -> Stats:
    width = int(found.get(f"bytes{number}") or 0) * (ESCAPED if found.get(f"odd{number}") else 1)
    return Stats(
        known=int(found[f"known{number}"] or 0),
        low=found.get(f"low{number}"),
        high=found.get(f"high{number}"),
        width=width,
    )


def _near(wanted: str, names: Sequence[str]) -> str:
    near = get_close_matches(wanted.casefold(), names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
