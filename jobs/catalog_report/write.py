"""From a catalog to its page on disk."""

from pathlib import Path

from catalogs.layout import PROPERTIES, write_atomic
from catalogs.overview.measure import overview, steps
from catalogs.read import Catalog, open_catalog
from catalogs.remote import Location
from engine.errors import InputError
from jobs.catalog_report.figures import how_many, pictures
from jobs.catalog_report.page import page
from jobs.catalog_report.template import MARK
from jobs.progress import bars

HEAD = 2000


def report_place(catalog: Location) -> Path:
    """CATALOG-report.html beside a catalog on disk; of one in an object store, in the current folder."""
    if isinstance(catalog, Path):
        folder = catalog.resolve()
        return folder.with_name(f"{folder.name}-report.html")
    return Path(f"{catalog.parent.name}-{catalog.name}-report.html")


def write_report(path: Location | str, out: Path | None = None) -> Path:
    """Write the page on a catalog; where it is.

    InputError, before any work, when something else than a report of ours is there, or the place is inside
    a catalog, where verify would find a stranger. VerifyError when the catalog is damaged.
    """
    catalog = open_catalog(path)
    target = report_place(catalog.path) if out is None else out
    _check_place(target)
    text = _drawn(catalog)
    try:
        write_atomic(target, text.encode())
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}; use --out FILE") from error
    return target


def _drawn(catalog: Catalog) -> str:
    with bars(Counting=steps(catalog)) as [progress]:
        found = overview(catalog, progress.advance)
    drawn = []
    with bars(Drawing=how_many(found)) as [progress]:
        for picture in pictures(found):
            drawn.append(picture)
            progress.advance(picture.section)
    return page(catalog, found, drawn)


def _check_place(target: Path) -> None:
    folder = target.resolve().parent
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; make it, or use another --out FILE")
    for one in (folder, *folder.parents):
        if (one / PROPERTIES).is_file():
            raise InputError(
                f"{target} would lie inside the catalog {one}, whose files are sealed; use --out FILE"
            )
    if target.is_dir() or (target.exists() and not _is_ours(target)):
        raise InputError(f"{target} is there and is no report of a catalog; use another --out FILE")


def _is_ours(target: Path) -> bool:
    try:
        with target.open("rb") as stream:
            return f'name="generator" content="{MARK}"'.encode() in stream.read(HEAD)
    except OSError:
        return False
