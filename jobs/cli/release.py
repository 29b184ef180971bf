"""The command that hands a catalog on."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.shared import CatalogPath, group
from jobs.interrupt import interruptible
from jobs.progress import say

commands = group()


class Form(StrEnum):
    """What `export` writes."""

    FITS = "fits"
    MRT = "mrt"
    RELEASE = "release"


@commands.command(
    epilog="Example: abundant export demo/catalogs/demo/1 stars.fits --columns targetid,teff,e_teff,flags "
    "--where \"good('teff') AND snr > 50\""
)
def export(
    catalog: CatalogPath,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new file (fits) or folder (mrt, release).")],
    form: Annotated[Form, typer.Option(help="What to write.")] = Form.FITS,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Only these columns, in this order.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="Only rows that fulfil a condition, as in `query`.")
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Rows of the sample, for mrt and release.")] = 1000,
    about: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML with what only you know of the catalog.")
    ] = None,
) -> None:
    """Write a catalog as FITS, as a sample for the CDS, or as a release with everything in one folder.

    fits: one table, in any size of memory; units, TNULL, checksums, provenance in the header.

    mrt: sample.dat and its ReadMe, as the CDS and the journals want them.

    release: both, SHA256SUMS, RO-Crate provenance, .zenodo.json and a page of the data model.

    FILE may hold title, description, licence, keywords, \\[\\[creators]] (name, affiliation, orcid) and
    \\[\\[related]] (identifier, relation).
    """
    from catalogs.export.request import Asked, Selection
    from jobs.release import about_of, exported, run_export

    names = tuple(name.strip() for name in columns.split(",")) if columns is not None else ()
    asked = Asked(
        catalog=catalog,
        out=out,
        selection=Selection(columns=names, where=where),
        about=about_of(about),
        sample=sample,
    )
    with interruptible("nothing was written"):
        say(exported(run_export(asked, form.value)))
