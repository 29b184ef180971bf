"""Tables joined to the spectra by an id: opened for the plan, joined to every batch."""

from engine.auxiliary.join import join
from engine.auxiliary.tables import (
    Table,
    given_names,
    joined_columns,
    open_tables,
    published_columns,
    table_digests,
)

__all__ = [
    "Table",
    "given_names",
    "join",
    "joined_columns",
    "open_tables",
    "published_columns",
    "table_digests",
]
