"""A survey of one's own: Parquet with list columns, as [survey.table] describes them in TABLE_COLUMNS.

Legend: N stars, P pixels.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.simulate.lines import air_to_vacuum
from engine.simulate.surveys.driver import OnFile, Recipe, replacing
from engine.simulate.surveys.giraffe import WINDOW
from engine.simulate.surveys.stars import Chunk
from engine.simulate.window import observe_window, synthesize_window

TABLE_COLUMNS: Final[dict[str, Any]] = {
    "id": "star_id",
    "flux": "flux",
    "ivar": "ivar",
    "grid": [6475.0, 0.1],
    "pixels": 3101,
    "frame": "rest",
    "medium": "air",
}
"""What a spec says under [survey.table] of these files. Its root is DIR/spectra; the truth lies outside."""

WAVE_AIR: Final = 6475.0 + 0.1 * np.arange(3101, dtype=np.float64)


def _write(folder: Path, chunk: Chunk, on_file: OnFile) -> dict[str, Any]:
    """Write a chunk as one file; one row in fifty has no spectrum."""
    count, rng = len(chunk), chunk.rng
    rest_NP = synthesize_window(WINDOW, chunk.targets.labels_NL, chunk.a_li_N)
    true_NP = observe_window(WINDOW, rest_NP, np.zeros(count), air_to_vacuum(WAVE_AIR))
    snr_N = chunk.snr(best=160.0, slope=0.2)
    error_NP = np.sqrt(np.maximum(true_NP, 0.05)) / snr_N[:, None]
    flux_NP = (true_NP + error_NP * rng.standard_normal(true_NP.shape)).astype(np.float32)
    # A gap in every row: missing is ivar 0, whatever the flux.
    ivar_NP = (error_NP**-2).astype(np.float32)
    flux_NP[:, 1500:1510], ivar_NP[:, 1500:1510] = np.nan, 0.0
    lacks_N = (chunk.first + np.arange(count)) % 50 == 17
    ids = 10_000_000_000_000_000 + chunk.first + np.arange(count)
    targets = chunk.targets
    columns = {
        "star_id": ids,
        "ra": targets.ra_N,
        "dec": targets.dec_N,
        "gaia_source_id": pa.array(targets.source_id_N, mask=~chunk.in_gaia_N),
        "rv": targets.velocity_N.astype(np.float32),
        "flux": _lists(flux_NP, lacks_N),
        "ivar": _lists(ivar_NP, lacks_N),
    }
    path = folder / "spectra" / f"stars-{chunk.index:05d}.parquet"
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
    on_file(path, count)
    return {"id": ids, "snr": snr_N}


def _lists(values_NP: np.ndarray, lacks_N: np.ndarray) -> pa.Array:
    """Rows as lists of numbers, NULL where a row has none."""
    rows = [None if lacks else row_P for row_P, lacks in zip(values_NP, lacks_N, strict=True)]
    return pa.array(rows, pa.list_(pa.float32()))


TABLE: Final = Recipe(name="table", keys=pa.schema([("id", pa.int64())]), write=_write)
