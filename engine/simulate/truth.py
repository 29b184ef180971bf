"""The truth table of a simulated survey: one row for each row of each coadd.

Legend: N rows of a file.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.simulate.labels import LABELS
from engine.simulate.plan import FilePlan
from engine.simulate.scene import Scene

TRUTH_SCHEMA: Final = pa.schema(
    [
        ("survey", pa.string()),
        ("program", pa.string()),
        ("healpix", pa.int32()),
        ("targetid", pa.int64()),
        ("ra", pa.float64()),
        ("dec", pa.float64()),
        ("kind", pa.string()),
        ("dead", pa.bool_()),
        ("gaia_source_id", pa.int64()),
        ("g_mag", pa.float32()),
        ("ebv", pa.float32()),
        ("rv", pa.float32()),
        ("snr", pa.float32()),
        *((name, pa.float32()) for name in LABELS),
    ]
)
"""kind is star, galaxy, sky or stuck; dead marks stars whose fibre gave nothing; g_mag is NULL for sky and
stuck fibres, rv (km/s) and the labels for all but stars; snr is the median over the pixels of all arms of
true flux over error (per 0.8 Å), 0 for fibres that recorded nothing."""

# Rows of one row group: large enough to read fast, small enough to hold.
_ROW_GROUP: Final = 20_000


def truth_of(plan: FilePlan, scene: Scene, snr_N: np.ndarray[Any, Any]) -> pa.Table:
    """The truth rows of one file, in the order of its rows."""
    targets, star_N = scene.targets, scene.kind_N == "star"
    lit_N = star_N | (scene.kind_N == "galaxy")
    columns: dict[str, pa.Array] = {
        "survey": pa.array([plan.survey] * plan.rows),
        "program": pa.array([plan.program] * plan.rows),
        "healpix": pa.array(np.full(plan.rows, plan.healpix, dtype=np.int32)),
        "targetid": pa.array(targets.targetid_N),
        "ra": pa.array(targets.ra_N),
        "dec": pa.array(targets.dec_N),
        "kind": pa.array(scene.kind_N.tolist()),
        "dead": pa.array(scene.dead_N),
        "gaia_source_id": pa.array(targets.source_id_N, mask=targets.source_id_N == 0),
        "g_mag": pa.array(targets.g_mag_N.astype(np.float32), mask=~lit_N),
        "ebv": pa.array(targets.ebv_N.astype(np.float32)),
        "rv": pa.array(targets.velocity_N.astype(np.float32), mask=~star_N),
        "snr": pa.array(snr_N.astype(np.float32)),
    }
    for index, name in enumerate(LABELS):
        columns[name] = pa.array(targets.labels_NL[:, index], mask=~star_N)
    return pa.table(columns, schema=TRUTH_SCHEMA)


@contextmanager
def truth_writer(path: Path, schema: pa.Schema = TRUTH_SCHEMA) -> Iterator[Callable[[pa.Table], None]]:
    """A function that appends truth rows; the table appears at `path` once the block ends well."""
    temporary = path.with_suffix(".tmp")
    waiting: list[pa.Table] = []
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:

        def append(rows: pa.Table) -> None:
            waiting.append(rows)
            if sum(table.num_rows for table in waiting) >= _ROW_GROUP:
                writer.write_table(pa.concat_tables(waiting).combine_chunks())
                waiting.clear()

        yield append
        if waiting:
            writer.write_table(pa.concat_tables(waiting).combine_chunks())
    temporary.replace(path)
