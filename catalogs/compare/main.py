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
from catalogs.compare.sides import Given, columns_of, ids_of, is_catalog, opened, title_of
from catalogs.compare.slim import Wanted, cut
from catalogs.compare.tables import table_of
from catalogs.macros import labels_of
from catalogs.read import Catalog, open_catalog
from catalogs.remote import Location
from catalogs.sql import MEMORY, text
from engine.errors import InputError
from engine.spec import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is compared: a catalog with another side, or with itself where there is none."""

    first: Location | str
    second: Location | str | None = None
    on: tuple[str, ...] = ()
    """Ids that join, OURS=THEIRS or one name for both; none: the full key, or the star's main id."""
    columns: tuple[str, ...] = ()
    """The second side's columns, OURS=THEIRS, where their names do not tell."""
    hdu: str | None = None
    """Which table of a FITS file, by name or number; None: the one with the most labels and errors."""
    storage: Storage | None = None
    """How catalogs in an object store are reached; None: as the environment says."""


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
    first = open_catalog(asked.first, asked.storage)
    given = _second(asked, labels_of(first.schema.names), folder)
    second, columns = str(asked.second), columns_of(given)
    key = joined_by(first, ids_of(given), second, asked.on)
    types = kinds(first, [*key])
    labels = _common(labels_of(first.schema.names), pairs_of("--column", asked.columns), columns, second)
    ours = Wanted.own({one: one for one in key}, [*labels])
    theirs = Wanted(keys=key, labels=labels, errors=_errors(labels, columns, asked.columns, second))
    a, b = _cut(first, ours, types, folder / "first"), _cut(given, theirs, types, folder / "second")
    found = join(connection, a, b, keys=len(key), labels=len(labels), out=folder / "pairs.parquet")
    if not found.matched:
        raise InputError(
            f"nothing matched: {title_of(first)} and {title_of(given)} share no {'/'.join(key)}"
            f"{_examples(found)}"
        )
    return _report(found, labels, first, title_of(given), key=tuple(key)), found


def _second(asked: Asked, labels: Sequence[str], folder: Path) -> Given:
    """The side that is compared with; InputError when there is none, or it cannot be read."""
    assert asked.second is not None
    if not is_catalog(asked.second, asked.storage):
        names = {label: label for label in labels}
        names |= {
            ours: theirs for ours, theirs in pairs_of("--column", asked.columns).items() if ours in names
        }
        return table_of(Path(str(asked.second)), names, asked.hdu, folder)
    if asked.hdu is not None:
        raise InputError(f"--hdu {asked.hdu}: {asked.second} is a catalog and no FITS file; leave it out")
    return open_catalog(asked.second, asked.storage)


def _repeated(asked: Asked, folder: Path, connection: duckdb.DuckDBPyConnection) -> tuple[Report, Joined]:
    for option, given in (("--column", asked.columns), ("--hdu", asked.hdu)):
        if given:
            raise InputError(f"{option} is about a second catalog or table; give one")
    first = open_catalog(asked.first, asked.storage)
    star = star_of(first, asked.on)
    labels = {label: label for label in labels_of(first.schema.names)}
    if not labels:
        raise InputError(f"{first.path} has no labels to compare; give a main catalog")
    wanted = Wanted.own({one: one for one in star}, [*labels])
    a = _cut(first, wanted, kinds(first, star), folder / "first")
    found = repeats(connection, a, keys=len(star), labels=len(labels), out=folder / "pairs.parquet")
    if not found.matched:
        raise InputError(
            f"nothing to compare: no two good rows of {title_of(first)} have the same {'/'.join(star)}; "
            "give a second catalog or table, or another id with --on"
        )
    best = f"{title_of(first)}: each spectrum with the same star's of highest S/N"
    return _report(found, labels, first, best, key=star), found


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


def _cut(given: Given, wanted: Wanted, types: Mapping[str, pa.DataType], folder: Path) -> Path:
    """A side's copy of what is wanted."""
    folder.mkdir()
    with opened(given, wanted.columns, folder) as (side, connection):
        return cut(side, connection, wanted, types, folder / "slim.parquet")


def _examples(found: Joined) -> str:
    one, other = (", ".join(ids) or "none" for ids in found.examples)
    return f" (such as {one} here and {other} there)"


def _report(
    found: Joined, labels: Mapping[str, str], first: Catalog, second: str, *, key: tuple[str, ...]
) -> Report:
    about = {label: first.schema.field(label).metadata or {} for label in labels}
    return Report(
        first=title_of(first),
        second=second,
        key=key,
        rows_first=found.rows_first,
        rows_second=found.rows_second,
        matched=found.matched,
        labels=tuple(
            LabelReport(
                name=label,
                unit=about[label].get(b"unit", b"").decode(),
                theirs=theirs,
                bins=measured(found, number),
            )
            for number, (label, theirs) in enumerate(labels.items())
        ),
    )
