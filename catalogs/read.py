"""open_catalog(): a published catalog as pandas, Arrow, astropy, DuckDB or LSDB."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.fs import FSSpecHandler, PyFileSystem

from catalogs.files import source
from catalogs.layout import DATASET, MANIFEST, PROPERTIES
from catalogs.macros import define
from catalogs.manifest import Manifest, partitions, read_manifest
from catalogs.remote import Location, Remote, location
from catalogs.sql import scan
from engine.errors import InputError, VerifyError
from engine.spec import Storage

if TYPE_CHECKING:
    import pandas as pd
    from astropy.table import Table

    from catalogs.objects import Objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """A published catalog. `schema` carries units, UCDs and descriptions as field metadata."""

    path: Location
    manifest: Manifest
    schema: pa.Schema
    rows: int

    @property
    def files(self) -> tuple[Location, ...]:
        """The partitions."""
        return tuple(self.path / name for name in partitions(self.manifest))

    def to_arrow(
        self, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
    ) -> pa.Table:
        """Rows as an Arrow table; `filters` is an expression such as `pc.field("snr") > 50`."""
        import pyarrow.dataset as pds

        files = [str(file) for file in self.files]
        where = None if self.remote is None else PyFileSystem(FSSpecHandler(self.remote))
        return pds.dataset(files, filesystem=where, format="parquet").to_table(
            columns=None if columns is None else list(columns), filter=filters
        )

    def to_pandas(
        self, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
    ) -> "pd.DataFrame":
        """Rows as a DataFrame with Arrow types: ids stay integers and NULL stays NULL."""
        import pandas as pd

        return self.to_arrow(columns, filters).to_pandas(types_mapper=pd.ArrowDtype)

    def to_astropy(
        self, columns: Sequence[str] | None = None, filters: pc.Expression | None = None
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
        """A DuckDB connection with the view `catalog`, cone(), good(), flag_set() and flag_names().

        VerifyError when the partitions cannot be read. What lies in an object store, DuckDB reads through us:
        there it can reach, and write, nothing else.
        """
        connection = duckdb.connect()
        if self.remote is not None:
            connection.register_filesystem(self.remote)
        try:
            connection.execute(f"CREATE VIEW catalog AS FROM {scan(self.files)}")
            define(connection, self.manifest, self.schema.names)
        except duckdb.Error as error:
            connection.close()
            raise damaged(self.path, self.broken() or str(error).splitlines()[0]) from error
        return connection

    @property
    def remote(self) -> "Objects | None":
        """The catalog's partitions in an object store, and nothing else there; None on a disk."""
        remote = [file for file in self.files if isinstance(file, Remote)]
        if not remote:
            return None
        from catalogs.objects import Objects

        return Objects({str(file): file for file in remote})

    def broken(self) -> str | None:
        """The first partition that is missing, of another size or without a footer, in words."""
        for name in partitions(self.manifest):
            path, said = self.path / name, self.manifest["files"][name]["bytes"]
            try:
                if path.stat().st_size != said:
                    return f"{name} has {path.stat().st_size} bytes, the manifest says {said}"
                pq.read_metadata(source(path))
            except (OSError, pa.ArrowException) as error:
                return f"{name} cannot be read: {str(error).splitlines()[0]}"
        return None

    def to_lsdb(self) -> Any:
        """A lazy LSDB catalog, for cross-matches and cones. InputError without LSDB."""
        try:
            from lsdb.loaders.hats.read_hats import open_catalog as open_lsdb
        except ImportError:
            raise InputError("LSDB is not installed: pip install lsdb") from None
        if isinstance(self.path, Path):
            return open_lsdb(self.path)
        from catalogs.objects import upath

        return open_lsdb(upath(self.path))


def open_catalog(path: Location | str, storage: Storage | None = None) -> Catalog:
    """A published catalog, in a folder or at s3://…; reads nothing but its manifest and schema.

    `storage` says how a server is reached; without it the environment does (AWS_ENDPOINT_URL, AWS_REGION).
    InputError if there is none; VerifyError if these two cannot be read or contradict each other.
    """
    folder = location(path, storage)
    if not is_there(folder / PROPERTIES):
        raise InputError(
            f"{folder} is not a published catalog: it has no {PROPERTIES}; give root/name/version"
        )
    try:
        manifest = read_manifest(folder)
        schema = pq.read_schema(source(folder / DATASET / "_common_metadata"))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise damaged(folder, f"{error}") from error
    said = [(column["name"], column["type"]) for column in manifest["columns"]]
    if said != [(field.name, str(field.type)) for field in schema]:
        raise damaged(folder, f"the columns of {MANIFEST} are not those of {DATASET}/_common_metadata")
    return Catalog(path=folder, manifest=manifest, schema=schema, rows=manifest["rows"]["total"])


def is_there(path: Location) -> bool:
    """Is there something at `path`? InputError when nobody could tell."""
    try:
        return path.exists()
    except OSError as error:
        raise InputError(f"{path} cannot be reached: {error.strerror or error}") from error


def damaged(folder: Location, what: str) -> VerifyError:
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
