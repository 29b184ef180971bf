"""Commands that read a catalog."""

import sys
from enum import StrEnum
from pathlib import Path
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
    epilog='Example: abundant query demo/catalogs/demo/1 "SELECT avg(teff) FROM catalog '
    "WHERE cone(150, 2, 5) AND good('teff')\""
)
def query(
    catalog: CatalogPath,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT on the view `catalog`.")],
    form: Annotated[Form, typer.Option("--format", help="How to print rows.")] = Form.TABLE,
) -> None:
    """Ask a catalog in SQL (DuckDB), read-only.

    Beside DuckDB's own functions there are, all of them about the row:

    cone(ra, dec, radius): lies within a radius, in degrees.

    good('teff'): the label is known and in the training range (flag_teff = 0), the row not flag_bad.

    flag_set('LOW_SNR'): carries a flag. flag_names(flags): all that it carries.

    In a join say whose: cone(a.ra, a.dec, b.ra, b.dec, radius), flag_set(a.flags, 'LOW_SNR').
    """
    from catalogs.formats import write
    from catalogs.query import stream

    with stream(catalog, sql) as rows, printing():
        write(rows, form.value, sys.stdout)


@commands.command(
    epilog="Example: abundant compare demo/catalogs/demo/1 mwsall.fits --on targetid --column teff=TEFF "
    "--plot residuals.png"
)
def compare(
    catalog: CatalogPath,
    second: Annotated[
        str | None,
        typer.Argument(metavar="OTHER", help="A second catalog, or a table: Parquet, FITS or CSV."),
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option("--on", metavar="ID", help="Join by this id, or OURS=THEIRS; default: the full key."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="OURS=THEIRS", help="What OTHER calls a label, or its error."),
    ] = None,
    hdu: Annotated[
        str | None,
        typer.Option("--hdu", metavar="HDU", help="Which table of a FITS file, by name or number."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="PNG", help="Draw the residuals to a file.")
    ] = None,
) -> None:
    """Compare labels with another catalog or table, or, without one, repeat spectra of the same stars.

    Bias, scatter, pulls and outliers of CATALOG minus OTHER, in bins of S/N, Teff and \\[Fe/H].

    Of OTHER the columns are found by their names: fe_h is FEH too, e_teff is TEFF_ERR.

    Of a FITS file with several tables the one with the most labels and errors is taken, unless --hdu says
    which; ids that it lacks come from its RVTAB, FIBERMAP or GAIA, if they have as many rows.
    """
    from catalogs.compare import Asked
    from jobs.compare import run_compare

    asked = Asked(first=catalog, second=second, on=tuple(on or ()), columns=tuple(column or ()), hdu=hdu)
    show_page(run_compare(asked, plot))


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
