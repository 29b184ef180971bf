"""Tables of the Gaia archive in any of its serialisations: the same columns out of each."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from engine.errors import ShardCorrupt
from engine.surveys.gaia.binary import fits_table, votable
from engine.surveys.gaia.content import content_of
from engine.surveys.gaia.contract import Kind, Table, Values
from engine.surveys.gaia.text import text_table
from engine.surveys.store import Store


@contextmanager
def opened(store: Store, name: str) -> Iterator[Table]:
    """A table of whatever form; ShardError when it is none. Text is read forward: see `text`."""
    content = content_of(store, name)
    make = {"text": text_table, "fits": fits_table, "votable": votable}[content.form]
    with make(store, name, content) as table:
        yield table


def require(table: Table, needed: Iterable[str]) -> None:
    """ShardCorrupt unless a table has these columns."""
    for name in needed:
        if name not in table.names:
            raise ShardCorrupt(f"column {name}: missing, expected beside {', '.join(list(table.names)[:40])}")


def read_columns(
    table: Table, needed: Mapping[str, Kind], welcome: Mapping[str, Kind], start: int, stop: int
) -> Values:
    """Rows of all `needed` columns and of those `welcome` ones that the table has."""
    require(table, needed)
    extra: dict[str, Kind] = {name: kind for name, kind in welcome.items() if name in table.names}
    return table.read({**needed, **extra}, start, stop)
