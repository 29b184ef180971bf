"""What a spec asks of its label table: our columns as expressions of the table's own."""

import gzip
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.auxiliary.cache import cache_folder, made_whole
from engine.auxiliary.content import content_sha256
from engine.auxiliary.source import columns_of
from engine.errors import PlanError
from engine.spec import digest
from engine.train.cuts_language import Expression, column, parse
from engine.train.match_sql import of_table
from engine.train.spec import LabelTable

PLACE = ("ra", "dec", "pm_ra", "pm_dec")
REFERENCE = "_reference_"
"""Before a label's name: the column with what the reference pipeline says of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked of a table: our columns, and flags of labels, as expressions of its own columns.

    `have` are all columns of the table, `values` those that are named, `keys` those of the key by our names;
    `numeric` are numbers, whatever the table has.
    """

    sha256: str
    have: tuple[str, ...]
    expressions: Mapping[str, Expression]
    flags: Mapping[str, Expression]
    keys: Mapping[str, str]
    values: tuple[str, ...]
    numeric: frozenset[str]


def columns_asked(table: LabelTable, cut_names: Collection[str]) -> Asked:
    """What a spec asks of its label table; PlanError for a column that is not there.

    Cuts may name columns of the spectra too: of theirs, only what the table has is asked for.
    """
    have, sha256 = _looked_at(table)
    keys = {name: table.columns.get(name, name) for name in table.key or ()}
    labels = [*table.names, *(f"e_{name}" for name in table.names if {f"e_{name}"} & {*have, *table.columns})]
    others = [name for name in (*table.columns, *sorted(set(cut_names) & set(have))) if name not in keys]
    expressions = {name: _expression(name, table, have) for name in dict.fromkeys([*labels, *others])}
    named_places = {ours: getattr(table.sky, ours) for ours in (PLACE if table.sky else ())}
    said = {ours: theirs for ours, theirs in named_places.items() if theirs is not None}
    places = _all_parsed(said, "_", "labels.sky", table, have)
    flags = _all_parsed(table.flagged, "", "labels.flagged", table, have)
    references = _all_parsed(table.reference, REFERENCE, "labels.reference", table, have)
    groups = (expressions, places, flags, references)
    named = {name for group in groups for each in group.values() for name in each.names}
    values = named | ({table.best} if table.best else set())
    check_there(values.union(keys.values()), have, table)
    return Asked(
        sha256=sha256,
        have=tuple(have),
        expressions=expressions | places | references,
        flags=flags,
        keys=keys,
        values=tuple(sorted(values)),
        numeric=frozenset((*labels, *places, *references))
        | {name for name, each in expressions.items() if not each.is_column},
    )


def _looked_at(table: LabelTable) -> tuple[list[str], str]:
    """The table's columns, and the sha256 of its content."""
    with of_table():
        sha256 = content_sha256(table.path)
    with unpacked(table.path) as plain, of_table(table.path, plain):
        return columns_of(plain), sha256


def check_there(named: Collection[str], have: list[str], table: LabelTable) -> None:
    """PlanError unless each name is one column of the table."""
    if missing := sorted(set(named) - set(have)):
        raise PlanError(
            f"labels.path: {table.path} has no column {', '.join(missing)}; it has {', '.join(have)}"
        )
    if doubled := sorted({name for name in named if have.count(name) > 1}):
        raise PlanError(f"labels.path: {table.path} has column {', '.join(doubled)} twice; rename one")


def _expression(name: str, table: LabelTable, have: Collection[str]) -> Expression:
    if name not in table.columns:
        return column(name, "labels.path")
    return _parsed(table.columns[name], f"labels.columns.{name}", table, have)


def _all_parsed(
    texts: Mapping[str, str], prefix: str, where: str, table: LabelTable, have: Collection[str]
) -> dict[str, Expression]:
    """What a section says, by our names with a prefix."""
    return {f"{prefix}{name}": _parsed(text, f"{where}.{name}", table, have) for name, text in texts.items()}


def _parsed(text: str, where: str, table: LabelTable, have: Collection[str]) -> Expression:
    """A column where the text is the name of one, else an expression; PlanError if it names none."""
    if text in have:
        return column(text, where)
    found = parse(text, where)
    if not found.names:
        raise PlanError(f"{where}: {text!r} names no column of {table.path}; it has {', '.join(have)}")
    check_there(found.names, list(have), table)
    return found


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The file itself; of a FITS file in gzip, an unpacked copy that is there for as long as it is needed."""
    if not path.name.lower().endswith(".fits.gz"):
        yield path
        return
    plain = cache_folder() / "unpacked" / digest([str(path), content_sha256(path)])[:32]

    def make(folder: Path) -> None:
        with gzip.open(path) as packed, (folder / "table.fits").open("wb") as out:
            shutil.copyfileobj(packed, out)

    try:
        yield made_whole(plain, make) / "table.fits"
    except (gzip.BadGzipFile, EOFError) as error:
        raise PlanError(f"labels.path: {path} cannot be read as gzip: {error}") from error
