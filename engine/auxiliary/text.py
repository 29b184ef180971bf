"""A CSV file -> Parquet with every value as text, a piece at a time.

DuckDB would read CSV too, but it finds no rows at all in a file whose lines end in two ways.
"""

import csv
import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from engine.auxiliary.content import check_columns
from engine.errors import PlanError

# A row must fit: XP spectra with their correlations take 70 kB.
BLOCK_BYTES = 16 * 2**20

# Every value as text: a type guessed from the first rows could make a float of an id. The Gaia archive's
# files say null.
NULLS = ["", "null"]


def csv_to_parquet(path: Path, columns: list[str], out: Path) -> Path:
    """Copy those of `columns` that the file has; PlanError when it cannot be read.

    Commas, a line of names, then values; lines that begin with # above it (ECSV) are passed over.
    """
    try:
        above, names = head(path)
        check_columns(path, columns, names)
        schema = pa.schema([(name, pa.string()) for name in dict.fromkeys(columns)])
        with pq.ParquetWriter(out, schema, compression="zstd") as writer:
            for piece in _pieces(path, above, schema):
                writer.write_batch(piece)
    except (OSError, EOFError, ValueError, csv.Error, pa.ArrowException) as error:
        raise PlanError(f"auxiliary.path: {path} cannot be read as CSV: {error}") from error
    return out


def head(path: Path) -> tuple[int, list[str]]:
    """How many lines stand above the names, and the names."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as lines:
        above = 0
        while (line := lines.readline(BLOCK_BYTES)).startswith("#"):
            above += 1
    names = next(csv.reader([line]), [])
    if not names or len(set(names)) < len(names):
        raise ValueError(f"expected a first line of distinct names, found {names[:20]}")
    return above, names


def _pieces(path: Path, above: int, schema: pa.Schema) -> arrow_csv.CSVStreamingReader:
    return arrow_csv.open_csv(
        path,
        read_options=arrow_csv.ReadOptions(skip_rows=above, block_size=BLOCK_BYTES, use_threads=False),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types=schema,
            include_columns=schema.names,
            null_values=NULLS,
            strings_can_be_null=True,
        ),
    )
