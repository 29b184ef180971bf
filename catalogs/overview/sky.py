"""Where rows are on the sky: counts per HEALPix pixel, coarse for all of it, fine where little is covered."""

import duckdb
import numpy as np

from catalogs.overview.records import Sky

ORDER, FINEST = 5, 9
# Beyond this share of the sky a closer look shows nothing that the whole does not.
SMALL_SHARE = 0.02
# Rows without a position sit in pixel 0 of the index and have no ra.
PLACED = "ra IS NOT NULL AND dec IS NOT NULL"


def whole_sky(con: duckdb.DuckDBPyConnection) -> Sky | None:
    """Rows in pixels of ORDER; None where no row has a position."""
    found = _counted(con, ORDER)
    return found if len(found.pixel_H) else None


def closer(con: duckdb.DuckDBPyConnection, sky: Sky) -> Sky | None:
    """The same in pixels of FINEST, if the catalog covers a small part of the sky."""
    share = len(sky.pixel_H) / (12 * 4**sky.order)
    return _counted(con, FINEST) if share < SMALL_SHARE else None


def _counted(con: duckdb.DuckDBPyConnection, order: int) -> Sky:
    pixel = f"CASE WHEN {PLACED} THEN _healpix_29 >> {2 * (29 - order)} END"
    cells = con.sql(f"SELECT {pixel} AS p, count(*) AS n FROM catalog GROUP BY p ORDER BY p NULLS FIRST")
    rows = cells.fetchall()
    nowhere = rows.pop(0)[1] if rows and rows[0][0] is None else 0
    pixel_H, count_H = np.array(rows, np.int64).reshape(-1, 2).T
    return Sky(order=order, pixel_H=pixel_H, count_H=count_H, without_position=nowhere)
