"""overview(): from a catalog to its numbers, a straight line of questions in SQL."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from catalogs.overview import along, failures, planes, sky
from catalogs.overview.distributions import distribution
from catalogs.overview.known import catalog_labels, ratios
from catalogs.overview.records import Overview, Plane, Ratio
from catalogs.overview.speed import speed
from catalogs.read import Catalog, damaged
from catalogs.sql import MEMORY, THREADS, name, text

OnStep = Callable[[str], None]


def overview(catalog: Catalog, on_step: OnStep = lambda _: None) -> Overview:
    """All that a report draws. Memory holds cells and bins, never rows; DuckDB takes 1 GB, else disk.

    `on_step` hears what is counted next. VerifyError when the catalog is damaged.
    """
    with _asking(catalog) as con:
        return _measured(con, catalog, on_step)


def steps(catalog: Catalog) -> int:
    """How often `on_step` is called."""
    labels = catalog_labels(catalog)
    return 4 + 2 * len(labels) + len(ratios(labels))


def _measured(con: duckdb.DuckDBPyConnection, catalog: Catalog, on_step: OnStep) -> Overview:
    labels = catalog_labels(catalog)
    on_step("stars")
    stars, with_result = _stars(con, catalog)
    known = {label: distribution(con, catalog, label) for label in _told(labels, on_step)}
    on_step("Kiel diagram")
    kiel = planes.kiel(con, known)
    drawn = [_ratio(con, known, ratio, on_step) for ratio in ratios(labels)]
    on_step("S/N")
    snr = along.snr_bins(con) if "snr" in catalog.schema.names else None
    errors = [snr and along.label_errors(con, catalog, label, snr) for label in _told(labels, on_step)]
    on_step("sky")
    whole = sky.whole_sky(con)
    return Overview(
        labels=labels,
        stars=stars,
        stars_with_result=with_result,
        distributions=tuple(known.values()),
        kiel=kiel if kiel is not None and kiel.rows else None,
        ratios=tuple(plane for plane in drawn if plane.rows),
        errors=tuple(found for found in errors if found is not None),
        outcomes=snr and along.outcomes(con, snr, catalog.rows),
        sky=whole,
        zoom=whole and sky.closer(con, whole),
        failures=failures.failed_tasks(con, catalog),
        unreadable=failures.unreadable(con, catalog),
        no_result=failures.without_result(con),
        speed=speed(catalog),
    )


def _told(labels: Sequence[str], on_step: OnStep) -> Iterator[str]:
    """The labels, each told before it is worked on."""
    for label in labels:
        on_step(label)
        yield label


def _ratio(con: duckdb.DuckDBPyConnection, known: planes.Known, ratio: Ratio, on_step: OnStep) -> Plane:
    on_step(ratio.name)
    return planes.ratio_plane(con, known, ratio)


@contextmanager
def _asking(catalog: Catalog) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of bounded memory. The questions are sound, so what goes wrong is the catalog's fault."""
    with TemporaryDirectory(prefix="abundant-") as spill, catalog.duckdb() as con:
        con.execute(f"SET memory_limit = '{MEMORY}'; SET threads = {THREADS}")
        con.execute(f"SET temp_directory = {text(spill)}; SET preserve_insertion_order = false")
        try:
            yield con
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise damaged(catalog.path, catalog.broken() or first) from error


def main_id(catalog: Catalog) -> str:
    """The column that the survey itself calls the main id of what it looked at, else the last of the key."""
    keys: list[str] = catalog.manifest["keys"]
    metadata = {key: catalog.schema.field(key).metadata or {} for key in keys}
    return next((key for key in keys if b"meta.main" in metadata[key].get(b"ucd", b"")), keys[-1])


def _stars(con: duckdb.DuckDBPyConnection, catalog: Catalog) -> tuple[int, int]:
    """Different main ids in all rows, and in those with a result."""
    key = name(main_id(catalog))
    asked = (
        f"SELECT count(*), count(*) FILTER (result) FROM (SELECT {key}, bool_or(flags & 1 = 0) AS result "
        f"FROM catalog WHERE {key} IS NOT NULL GROUP BY {key})"
    )
    return con.execute(asked).fetchall()[0]
