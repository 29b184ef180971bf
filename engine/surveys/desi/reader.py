"""The survey's three functions: list the files, read a task, read the ids of a task that failed."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.columns import schema
from engine.errors import PlanError, ShardCorrupt, ShardError, ShardUnavailable
from engine.spec import SurveySpec, Velocity
from engine.surveys.assemble import assemble
from engine.surveys.desi.fibermap import Fibermap, keys, read_fibermap, scalars
from engine.surveys.desi.files import check, find, inspect
from engine.surveys.desi.layout import COLUMNS, IMAGES
from engine.surveys.desi.redrock import Redrock, read_redrock
from engine.surveys.desi.rv_table import check_velocity
from engine.surveys.desi.select import check_select, select_rows
from engine.surveys.desi.velocity import velocity_columns
from engine.surveys.fits import FitsFile, named, opened, read_rows
from engine.surveys.index import index_files, shard_of
from engine.surveys.store import Store, store_of
from engine.types import Bools, Extent, Shard, Task

SCHEMA = schema(COLUMNS)
SCALAR_COLUMNS = tuple(column for column in COLUMNS if column.name not in IMAGES)

NO_VELOCITY = Velocity.model_validate({"from": "none"})

T = TypeVar("T")


def list_shards(spec: SurveySpec) -> list[Shard]:
    """One Shard for each coadd or spectra file under the root, by relative path.

    PlanError when there is none, or when the files named by `select` and `rv` cannot be used.
    """
    check_select(spec.select)
    check_velocity(spec.rv)
    store = store_of(spec.root, spec.storage)
    entries, beside = find(store, spec.root)
    return [
        shard_of(file)
        for file in index_files("desi", store, entries, partial(inspect, store, beside), beside)
    ]


def read(spec: SurveySpec, task: Task) -> pa.Table:
    """The selected rows of a task, in file order, with flux, ivar and mask as they are in the file."""
    store, shard = store_of(spec.root, spec.storage), task.shard
    with named(store.address(shard.path)), opened(store, shard.path) as file:
        _refuse_problem(store, shard)
        store.refuse_change(shard.path, shard.fingerprint)
        extents = _extents(file, shard)
        fibers = read_fibermap(file, PurePath(shard.path).name, task.start, task.stop)
    redrock = read_redrock(store, shard, fibers.targetid)
    with named(store.address(shard.path)):
        chosen_N = select_rows(spec.select, fibers, redrock)
    columns = _columns(spec, fibers, redrock, chosen_N)
    rows = fibers.rows[chosen_N]
    with named(store.address(shard.path)), opened(store, shard.path) as file:
        columns |= _images(store, file, extents, rows)
    return assemble(COLUMNS, columns, len(rows))


def read_ids(spec: SurveySpec, task: Task) -> pa.Table:
    """The same rows without arrays, as far as FIBERMAP still gives them; what else fails becomes NULL.

    Where the selection cannot be evaluated, every row of the task. Raises no ShardError.
    """
    store, shard = store_of(spec.root, spec.storage), task.shard
    try:
        with opened(store, shard.path) as file:
            fibers = read_fibermap(file, PurePath(shard.path).name, task.start, task.stop)
    except ShardError:
        return schema(SCALAR_COLUMNS).empty_table()
    redrock = _attempt(lambda: read_redrock(store, shard, fibers.targetid), None)
    everything_N = np.ones(len(fibers.rows), np.bool_)
    chosen_N = _attempt(lambda: select_rows(spec.select, fibers, redrock), everything_N)
    no_velocity = spec.model_copy(update={"rv": NO_VELOCITY})
    columns = _attempt(
        lambda: _columns(spec, fibers, redrock, chosen_N),
        _columns(no_velocity, fibers, redrock, chosen_N),
    )
    return assemble(SCALAR_COLUMNS, columns, len(columns["targetid"]))


def _attempt(make: Callable[[], T], otherwise: T) -> T:
    try:
        return make()
    except (ShardError, PlanError):
        return otherwise


def _columns(
    spec: SurveySpec, fibers: Fibermap, redrock: Redrock | None, chosen_N: Bools
) -> dict[str, pa.Array]:
    """Every column but the arrays, of the chosen rows."""
    fibers = fibers.take(chosen_N)
    redrock = redrock and redrock.take(chosen_N)
    spectype = pa.nulls(len(fibers.rows), pa.string())
    if redrock is not None:
        spectype = pa.array(redrock.spectype_N, pa.string(), mask=~redrock.found_N)
    found = keys(fibers)
    return found | scalars(fibers) | {"spectype": spectype} | velocity_columns(spec.rv, found, redrock)


def _refuse_problem(store: Store, shard: Shard) -> None:
    """Raise what was wrong with a file when it was listed; retryable if it still cannot be reached."""
    if shard.problem is not None:
        raise (ShardUnavailable if inspect(store, {}, shard.path).passing else ShardCorrupt)(shard.problem)


def _extents(file: FitsFile, shard: Shard) -> Mapping[str, Extent]:
    """Where the images lie: as the index knows it, or found now in an inflated file."""
    if shard.extents:
        return shard.extents
    hdus = {hdu.name: hdu for hdu in file.walk()}
    check(file, hdus)
    return {name: hdu.extent for name, hdu in hdus.items()}


def _images(
    store: Store, file: FitsFile, extents: Mapping[str, Extent], rows: npt.NDArray[np.int64]
) -> dict[str, pa.ExtensionArray]:
    """Every array column; from an object store all at once."""

    def read_one(column: str) -> pa.ExtensionArray:
        hdu = IMAGES[column][0]
        return _tensor(file, hdu, extents[hdu], rows, SCHEMA.field(column).type)

    return dict(zip(IMAGES, store.each(read_one, list(IMAGES)), strict=True))


def _tensor(
    file: FitsFile, hdu: str, extent: Extent, rows: npt.NDArray[np.int64], kind: Any
) -> pa.ExtensionArray:
    """Rows of an image as a tensor column, read straight into Arrow's memory.

    Arrow's allocator keeps freed pages. Numpy gives them back, and touching fresh ones takes longer than
    reading (measured: twice the time for the whole task).
    """
    pixels = extent.shape[1]
    memory = pa.allocate_buffer(4 * pixels * len(rows))
    if len(rows):
        out = np.frombuffer(memory, kind.value_type.to_pandas_dtype()).reshape(-1, pixels)
        read_rows(file, hdu, extent, rows, out)
    values = pa.Array.from_buffers(kind.value_type, pixels * len(rows), [None, memory])
    storage = pa.FixedSizeListArray.from_arrays(values, type=kind.storage_type)
    return pa.ExtensionArray.from_storage(kind, storage)
