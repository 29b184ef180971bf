"""open_catalog(): a published catalog as pandas, Arrow, astropy, DuckDB or LSDB."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds
import pyarrow.parquet as pq

from catalogs.layout import DATASET, MANIFEST, PROPERTIES
from catalogs.manifest import Manifest, partitions, read_manifest
from catalogs.sql import scan
from engine.errors import InputError, VerifyError

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """A published catalog. `schema` carries units, UCDs and descriptions as field metadata."""

    path: Path
    manifest: Manifest
    schema: pa.Schema
    rows: int

    @property
    def files(self) -> tuple[Path, ...]:
        """The partitions."""
        return tuple(self.path / name for name in partitions(self.manifest))

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
        """A DuckDB connection with the view `catalog`. VerifyError when the partitions cannot be read."""
        connection = duckdb.connect()
        try:
            connection.execute(f"CREATE VIEW catalog AS FROM {scan(self.files)}")
        except duckdb.Error as error:
            connection.close()
            raise damaged(self.path, self.broken() or str(error).splitlines()[0]) from error
        return connection

    def broken(self) -> str | None:
        """The first partition that is missing, of another size or without a footer, in words."""
        for name in partitions(self.manifest):
            path, said = self.path / name, self.manifest["files"][name]["bytes"]
            try:
                if path.stat().st_size != said:
                    return f"{name} has {path.stat().st_size} bytes, the manifest says {said}"
                pq.read_metadata(path)
            except (OSError, pa.ArrowException) as error:
                return f"{name} cannot be read: {str(error).splitlines()[0]}"
        return None

    def to_lsdb(self) -> Any:
        """A lazy LSDB catalog, for cross-matches and cones. InputError without LSDB."""
        try:
            from lsdb.loaders.hats.read_hats import open_catalog as open_lsdb
        except ImportError:
            raise InputError("LSDB is not installed: pip install lsdb") from None
        return open_lsdb(self.path)


def open_catalog(path: Path | str) -> Catalog:
    """A published catalog; reads nothing but its manifest and schema.

    InputError if there is none; VerifyError if these two cannot be read or contradict each other.
    """
    folder = Path(path)
    if not is_there(folder / PROPERTIES):
        raise InputError(
            f"{folder} is not a published catalog: it has no {PROPERTIES}; give root/name/version"
        )
    try:
        manifest = read_manifest(folder)
        schema = pq.read_schema(folder / DATASET / "_common_metadata")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise damaged(folder, f"{error}") from error
    said = [(column["name"], column["type"]) for column in manifest["columns"]]
    if said != [(field.name, str(field.type)) for field in schema]:
        raise damaged(folder, f"the columns of {MANIFEST} are not those of {DATASET}/_common_metadata")
    return Catalog(path=folder, manifest=manifest, schema=schema, rows=manifest["rows"]["total"])


def is_there(path: Path) -> bool:
    """Is there something at `path`? InputError when nobody could tell."""
    try:
        return path.exists()
    except OSError as error:
        raise InputError(f"{path} cannot be reached: {error.strerror or error}") from error


def damaged(folder: Path, what: str) -> VerifyError:
    """The error for a catalog that is not what it was when it was published."""
    return VerifyError(f"{folder} is damaged: {what}; `abundant verify {folder}` says more")


def _filled(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """The values as a numpy array of their own type, and where they are NULL."""
    mask = column.is_null().to_numpy()
    if column.type == pa.string():
        return np.array(column.fill_null("").to_pylist(), dtype=str), mask
    if pa.types.is_fixed_size_list(column.type):
        return _filled_lists(column, mask)
    zero = pa.scalar(False if column.type == pa.bool_() else 0, column.type)
    return column.fill_null(zero).to_numpy(), mask


def _filled_lists(column: pa.ChunkedArray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `_filled`, a row of numbers for every list."""
    flat = pc.call_function("list_flatten", [column]).to_numpy()
    values = np.zeros((len(mask), column.type.list_size), flat.dtype)
    values[~mask] = flat.reshape(-1, column.type.list_size)
    return values, np.broadcast_to(mask[:, None], values.shape)
