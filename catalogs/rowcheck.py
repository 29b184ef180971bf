"""The checks on rows: positions, NaN and NULLs; and in a partition its pixel, order and counts."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalogs.files import source
from catalogs.groups import Damage, Group, staged_files
from catalogs.manifest import Manifest
from catalogs.pixels import INDEX_ORDER, SKY_ORDER
from catalogs.remote import Location
from catalogs.shuffle import row_order
from catalogs.sql import slashed
from catalogs.sums import NO_RESULT, Sums
from engine.flags import BY_NAME
from engine.positions import healpix29
from engine.side import SIDES
from engine.support import NO_LABEL

LABEL_MISSING = BY_NAME["LABEL_MISSING"].value


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one partition holds, and what is wrong with it; `sky`: rows by pixels of order SKY_ORDER."""

    sums: Sums
    problems: tuple[str, ...]
    sky: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChecks:
    """What the manifest says that the checks need. `columns` holds (name, type as text)."""

    keys: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, manifest: Manifest) -> "RowChecks":
        """The checks for a catalog with this manifest."""
        columns = tuple((column["name"], column["type"]) for column in manifest["columns"])
        return cls(keys=tuple(manifest["keys"]), columns=columns)

    def run(self, path: Location, name: str) -> Found:
        """Check a partition, one row group in memory at a time.

        OSError, ArrowException or ValueError when the bytes make no sense.
        """
        with pq.ParquetFile(source(path)) as file:
            columns = tuple((field.name, str(field.type)) for field in file.schema_arrow)
            if columns != self.columns:
                return Found(sums=Sums(), problems=(_difference(columns, self.columns),))
            return self._rows(file, name)

    def _rows(self, file: pq.ParquetFile, name: str) -> Found:
        sums, counts, sky, last = Sums(), Counter[str](), Counter[int](), None
        for number in range(file.num_row_groups):
            rows = file.read_row_group(number)
            sums = sums + Sums.of(rows)
            place = rows.select(["_healpix_29", *self.keys])
            chain = place if last is None else pa.concat_tables([last, place])
            last = place.slice(len(place) - 1)
            counts.update({**_pixel(rows, name), **_order(chain, self.keys), **faults(rows)})
            sky.update(_sky(rows))
        problems = tuple(f"{bad} {what}" for what, bad in counts.items() if bad)
        return Found(sums=sums, problems=problems, sky=sky)


def faults(rows: pa.Table) -> dict[str, int]:
    """What is wrong with single rows, wherever they lie, and with how many: positions, NaN and NULLs."""
    return {**_positions(rows), **_values(rows)}


def holding(path: Location, keys: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Those of some keys, written with slashes, that rows of a partition have."""
    with pq.ParquetFile(source(path)) as file, duckdb.connect() as connection:
        rows = file.read(columns=list(keys))
        connection.register("rows", rows)
        sql = f"SELECT DISTINCT {slashed(keys)} AS k FROM rows WHERE k IN (SELECT unnest(?)) ORDER BY k"
        return [row[0] for row in connection.execute(sql, [list(wanted)]).fetchall()]


def faulty(group: Group, schema: pa.Schema) -> tuple[Damage, ...]:
    """The tasks of some staged files whose rows no catalog may hold, and what is wrong with them."""
    found: list[Damage] = []
    for receipt, file in staged_files(group, schema):
        if isinstance(file, Damage):
            found.append(file)
            continue
        wrong = [f"{rows} {what}" for what, rows in faults(file.read()).items() if rows]
        found += [Damage(task_id=receipt.task_id, what=what) for what in wrong]
    return tuple(found)


def pixel_of(name: str) -> tuple[int, int]:
    """Order and number of a partition's pixel by its path; (0, -1) for a path that tells none."""
    match = re.search(r"Norder=(\d+)/.*Npix=(\d+)\.parquet$", name)
    return (int(match[1]), int(match[2])) if match else (0, -1)


def _pixel(rows: pa.Table, name: str) -> dict[str, int]:
    """Rows outside the file's pixel."""
    order, pixel = pixel_of(name)
    index_N = rows["_healpix_29"].to_numpy()
    return {
        "rows lie outside the file's pixel": int(np.sum(index_N >> 2 * (INDEX_ORDER - order) != pixel)),
    }


def _sky(rows: pa.Table) -> dict[int, int]:
    """Rows by pixels of order SKY_ORDER."""
    pixels, counts = np.unique(
        rows["_healpix_29"].to_numpy() >> 2 * (INDEX_ORDER - SKY_ORDER), return_counts=True
    )
    return dict(zip(pixels.tolist(), counts.tolist(), strict=True))


def _positions(rows: pa.Table) -> dict[str, int]:
    """Rows whose index is not that of their position."""
    ra_N, dec_N = (rows[axis].cast(pa.float64()).fill_null(np.nan).to_numpy() for axis in ("ra", "dec"))
    wrong_N = rows["_healpix_29"].to_numpy() != healpix29(ra_N, dec_N)
    return {"rows have a _healpix_29 that is not that of (ra, dec)": int(np.sum(wrong_N))}


def _order(chain: pa.Table, keys: Sequence[str]) -> dict[str, int]:
    """Rows out of order; the sort is stable, so sorted rows keep their places."""
    places_N = row_order(chain, keys).to_numpy()
    return {"rows are not in order": int(np.sum(places_N != np.arange(len(chain))))}


def _values(rows: pa.Table) -> dict[str, int]:
    """NaN anywhere, in lists too, and what should be NULL and is not, or is and should not be."""
    found: dict[str, int] = {}
    for name in rows.column_names:
        values = rows[name]
        if pa.types.is_fixed_size_list(values.type):
            values = pc.call_function("list_flatten", [values])
            found[f"values inside {name} are NULL"] = values.null_count
        if pa.types.is_floating(values.type):
            nan = pc.call_function("is_nan", [values])
            found[f"values of {name} are NaN"] = pc.call_function("sum", [nan]).as_py() or 0
    return {**found, **_nulls(rows), **_errors(rows)}


def _nulls(rows: pa.Table) -> dict[str, int]:
    """Labels and what belongs to them that are NULL without a reason, or present in spite of one."""
    found: dict[str, int] = {}
    none_N = (rows["flags"].to_numpy() & NO_RESULT) != 0
    some_N = (rows["flags"].to_numpy() & LABEL_MISSING) != 0
    for name in SIDES:
        if name in rows.column_names:
            null_N = rows[name].is_null().to_numpy()
            found[f"values of {name} are NULL without a flag"] = int(np.sum(null_N & ~none_N & ~some_N))
            found[f"values of {name} are there though flagged NO_RESULT"] = int(np.sum(~null_N & none_N))
    for label in _labels(rows.column_names):
        flag_N = rows[f"flag_{label}"].fill_null(0).to_numpy()
        excused_N = none_N | ((flag_N & NO_LABEL) != 0)
        null_N = rows[label].is_null().to_numpy()
        found[f"values of {label} are NULL without a flag"] = int(np.sum(null_N & ~excused_N))
        found[f"values of {label} are there though flagged NO_RESULT"] = int(np.sum(~null_N & excused_N))
    return found


def _errors(rows: pa.Table) -> dict[str, int]:
    """Errors that are no errors: below 0, or 0 where the draws do not all agree."""
    found: dict[str, int] = {}
    for label in _labels(rows.column_names):
        for name in (f"e_{label}", f"e_{label}_model", f"e_{label}_noise"):
            if name in rows.column_names:
                error_N = rows[name].fill_null(1).to_numpy()
                zero_N = (error_N == 0) & (name == f"e_{label}")
                if (spread := f"e_{label}_model") in rows.column_names:
                    zero_N &= rows[spread].fill_null(1).to_numpy() != 0
                found[f"values of {name} are not above 0"] = int(np.sum((error_N < 0) | zero_N))
    return found


def _labels(names: Sequence[str]) -> list[str]:
    return [name for name in names if {f"e_{name}", f"flag_{name}"} <= {*names}]


def _difference(found: Sequence[tuple[str, str]], said: Sequence[tuple[str, str]]) -> str:
    lacks = sorted({f"{name} {kind}" for name, kind in said} - {f"{name} {kind}" for name, kind in found})
    extra = sorted({f"{name} {kind}" for name, kind in found} - {f"{name} {kind}" for name, kind in said})
    return f"its columns are not the manifest's: lacks {lacks or 'none'}, has besides {extra or 'none'}"
