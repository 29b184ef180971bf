"""open_catalog(): a published catalog as pandas, Arrow, astropy, DuckDB or LSDB."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.dataset as pds
import pyarrow.parquet as pq

from catalogs.layout import DATASET, MANIFEST, PROPERTIES
from catalogs.sql import scan
from engine.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """A published catalog. `schema` carries units, UCDs and descriptions as field metadata."""

    path: Path
    manifest: Mapping[str, Any]
    schema: pa.Schema
    rows: int

    @property
    def files(self) -> tuple[Path, ...]:
        """The partitions."""
        return tuple(self.path / name for name, file in self.manifest["files"].items() if "rows" in file)

    def to_arrow(
        self, columns: Sequence[str] | None = None, filters: pds.Expression | None = None
    ) -> pa.Table:
        """Rows as an Arrow table; `filters` is an expression such as `pc.field("snr") > 50`."""
        source = pds.dataset([str(file) for file in self.files], format="parquet")
        return source.to_table(columns=None if columns is None else list(columns), filter=filters)

    def to_pandas(
        self, columns: Sequence[str] | None = None, filters: pds.Expression | None = None
    ) -> "pd.DataFrame":
        """Rows as a DataFrame with Arrow types: ids stay integers and NULL stays NULL."""
        import pandas as pd

        return self.to_arrow(columns, filters).to_pandas(types_mapper=pd.ArrowDtype)

    def to_astropy(
        self, columns: Sequence[str] | None = None, filters: pds.Expression | None = None
    ) -> "Table":
        """Rows as an astropy Table with units; NULL is masked and ids are exact.

        astropy's own Parquet reader turns integers with a NULL into floats, which rounds ids.
        """
        from astropy.table import MaskedColumn, Table

        rows = self.to_arrow(columns, filters)
        made = Table()
        for field in rows.schema:
            about = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
            values, mask = _filled(rows[field.name])
            made[field.name] = MaskedColumn(
                values, mask=mask, unit=about.get("unit"), description=about.get("description")
            )
        return made

    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection with the view `catalog`."""
        connection = duckdb.connect()
        connection.execute(f"CREATE VIEW catalog AS FROM {scan(self.files)}")
        return connection

    def to_lsdb(self) -> Any:
        """A lazy LSDB catalog, for cross-matches and cones. InputError without LSDB."""
        try:
            from lsdb.loaders.hats.read_hats import open_catalog as open_lsdb
        except ImportError:
            raise InputError("LSDB is not installed: pip install lsdb") from None
        return open_lsdb(self.path)


def open_catalog(path: Path | str) -> Catalog:
    """A published catalog; reads nothing but its manifest and schema. InputError if there is none."""
    folder = Path(path)
    manifest, schema = folder / MANIFEST, folder / DATASET / "_common_metadata"
    if not (folder / PROPERTIES).exists():
        raise InputError(f"{folder} is not a published catalog: it has no {PROPERTIES}")
    try:
        content = json.loads(manifest.read_bytes())
        return Catalog(
            path=folder,
            manifest=content,
            schema=pq.read_schema(schema),
            rows=content["rows"]["total"],
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{folder} is damaged ({type(error).__name__}: {error}); `abundant verify` says more"
        ) from error


def _filled(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The values as a numpy array of their own type, and where they are NULL."""
    mask = column.is_null().to_numpy()
    if column.type == pa.string():
        return np.array(column.fill_null("").to_pylist(), dtype=str), mask
    zero = pa.scalar(False if column.type == pa.bool_() else 0, column.type)
    return column.fill_null(zero).to_numpy(), mask
