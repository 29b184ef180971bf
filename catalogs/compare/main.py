"""compare(): two sides cut down to what is compared, joined on disk, measured. Memory is DuckDB's bound."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from catalogs.compare.join import Joined, join, repeats
from catalogs.compare.keys import joined_by, kinds, star_of
from catalogs.compare.measure import measured
from catalogs.compare.names import chosen, find_error, listed, pairs_of
from catalogs.compare.records import LabelReport, Report
from catalogs.compare.sides import names_of, opened
from catalogs.compare.slim import Wanted, cut
from catalogs.macros import labels_of
from catalogs.read import open_catalog
from catalogs.sql import MEMORY, text
from engine.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is compared: a catalog with another side, or with itself where there is none."""

    first: Path | str
    second: Path | str | None = None
    on: tuple[str, ...] = ()
    """Ids that join, OURS=THEIRS or one name for both; none: the full key, or the star's main id."""
    columns: tuple[str, ...] = ()
    """The second side's columns, OURS=THEIRS, where their names do not tell."""


@contextmanager
def compare(asked: Asked) -> Iterator[tuple[Report, Joined]]:
    """What a comparison finds, and the joined rows, for figures, for as long as they are needed.

    InputError without a common id or label, without any match, and for ids that repeat in the second side.
    """
    with TemporaryDirectory(prefix="abundant-") as place, duckdb.connect() as connection:
        folder = Path(place)
        connection.execute(f"SET memory_limit = '{MEMORY}'; SET temp_directory = {text(folder / 'spill')}")
        yield (_repeated if asked.second is None else _joined)(asked, folder, connection)


def _joined(asked: Asked, folder: Path, connection: duckdb.DuckDBPyConnection) -> tuple[Report, Joined]:
    assert asked.second is not None
    first, columns = open_catalog(asked.first), names_of(asked.second)
    second = str(asked.second)
    key = joined_by(first, columns, second, asked.on)
    types = kinds(first, [*key])
    labels = _common(labels_of(first.schema.names), pairs_of("--column", asked.columns), columns, second)
    ours = Wanted.own({one: one for one in key}, [*labels])
    theirs = Wanted(keys=key, labels=labels, errors=_errors(labels, columns, asked.columns, second))
    a, title_a = _cut(asked.first, ours, types, folder / "first")
    b, title_b = _cut(asked.second, theirs, types, folder / "second")
    found = join(connection, a, b, keys=len(key), labels=len(labels), out=folder / "pairs.parquet")
    title = f"{title_a} and {title_b}"
    if not found.matched:
        raise InputError(f"nothing matched: {title} share no {'/'.join(key)}{_examples(found)}")
    return _report(found, labels, title_a, title_b, key=tuple(key), first=asked.first), found


def _repeated(asked: Asked, folder: Path, connection: duckdb.DuckDBPyConnection) -> tuple[Report, Joined]:
    if asked.columns:
        raise InputError("--column names columns of a second catalog or table; give one")
    first = open_catalog(asked.first)
    star = star_of(first, asked.on)
    labels = {label: label for label in labels_of(first.schema.names)}
    if not labels:
        raise InputError(f"{first.path} has no labels to compare; give a main catalog")
    wanted = Wanted.own({one: one for one in star}, [*labels])
    a, title = _cut(asked.first, wanted, kinds(first, star), folder / "first")
    found = repeats(connection, a, keys=len(star), labels=len(labels), out=folder / "pairs.parquet")
    if not found.matched:
        raise InputError(
            f"nothing to compare: no two good rows of {title} have the same {'/'.join(star)}; "
            "give a second catalog or table, or another id with --on"
        )
    best = f"{title}: each spectrum with the same star's of highest S/N"
    return _report(found, labels, title, best, key=star, first=asked.first), found


def _common(
    ours: Sequence[str], mapping: Mapping[str, str], columns: Sequence[str], second: str
) -> dict[str, str]:
    """Our labels -> their columns; InputError for a mapping of what is no label, and where none is common."""
    known = {*ours, *(f"e_{label}" for label in ours)}
    if unknown := [name for name in mapping if name not in known]:
        raise InputError(
            f"--column {unknown[0]}: is no label here; the labels are {', '.join(ours) or 'none'}"
        )
    found = {label: chosen(label, mapping, columns, second) for label in ours}
    if labels := {label: column for label, column in found.items() if column is not None}:
        return labels
    raise InputError(
        f"no common label: {second} has none of {', '.join(ours) or 'no label'}; "
        f"name its columns with --column teff=TEFF. It has {listed(columns)}"
    )


def _errors(
    labels: Mapping[str, str], columns: Sequence[str], given: Sequence[str], second: str
) -> dict[str, str]:
    """Their columns of errors, for the labels that have one."""
    mapping = pairs_of("--column", given)
    found: dict[str, str] = {}
    for label, theirs in labels.items():
        named = chosen(f"e_{label}", mapping, columns, second) if f"e_{label}" in mapping else None
        if error := named or find_error(label, theirs, columns):
            found[label] = error
    return found


def _cut(
    path: Path | str, wanted: Wanted, types: Mapping[str, pa.DataType], folder: Path
) -> tuple[Path, str]:
    """A side's copy of what is wanted, and its title."""
    folder.mkdir()
    with opened(path, wanted.columns, folder) as (side, connection):
        return cut(side, connection, wanted, types, folder / "slim.parquet"), side.title


def _examples(found: Joined) -> str:
    one, other = (", ".join(ids) or "none" for ids in found.examples)
    return f" (such as {one} here and {other} there)"


def _report(
    found: Joined,
    labels: Mapping[str, str],
    title: str,
    second: str,
    *,
    key: tuple[str, ...],
    first: Path | str,
) -> Report:
    schema = open_catalog(first).schema
    units = {label: (schema.field(label).metadata or {}).get(b"unit", b"").decode() for label in labels}
    return Report(
        first=title,
        second=second,
        key=key,
        rows_first=found.rows_first,
        rows_second=found.rows_second,
        matched=found.matched,
        labels=tuple(
            LabelReport(name=label, unit=units[label], theirs=theirs, bins=measured(found, number))
            for number, (label, theirs) in enumerate(labels.items())
        ),
    )
