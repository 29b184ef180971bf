"""Tables of the Gaia archive in any of its serialisations: the same columns out of each."""

from collections.abc import Iterator, Mapping
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


def read_columns(
    table: Table, needed: Mapping[str, Kind], welcome: Mapping[str, Kind], start: int, stop: int
) -> Values:
    """Rows of all `needed` columns and of those `welcome` ones that the table has."""
    if missing := [name for name in needed if name not in table.names]:
        there = ", ".join(list(table.names)[:40])
        raise ShardCorrupt(f"column {missing[0]}: missing, expected beside {there}")
    extra: dict[str, Kind] = {name: kind for name, kind in welcome.items() if name in table.names}
    return table.read({**needed, **extra}, start, stop)
