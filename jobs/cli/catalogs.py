"""Commands that read a catalog."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from jobs.cli.shared import CatalogPath, group, printing, show_page

commands = group()


class Form(StrEnum):
    """How `query` prints rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@commands.command(
    epilog='Example: abundant query demo/catalogs/demo/1 "SELECT count(*) FROM catalog WHERE NOT flag_bad"'
)
def query(
    catalog: CatalogPath,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT on the view `catalog`.")],
    form: Annotated[Form, typer.Option("--format", help="How to print rows.")] = Form.TABLE,
) -> None:
    """Ask a catalog in SQL (DuckDB), read-only."""
    from catalogs.formats import write
    from catalogs.query import stream

    with stream(catalog, sql) as rows, printing():
        write(rows, form.value, sys.stdout)


# A stuck fibre has a negative TARGETID, which must not be taken for an option.
@commands.command(
    epilog="Example: abundant explain demo/catalogs/demo/1 39627345678901234",
    context_settings={"ignore_unknown_options": True},
)
def explain(
    catalog: CatalogPath,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Full key, slash-joined (NULL = none), or the id alone.")
    ],
) -> None:
    """One row back to its file and the row in it, with its flags in words."""
    from catalogs import open_catalog
    from catalogs.query import find
    from jobs import show

    show_page(show.explained(find(catalog, key.split("/")), open_catalog(catalog).manifest))
