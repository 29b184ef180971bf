"""The training set on disk: prepared stars in Parquet, and set.json with where they come from.

One row for each spectrum: keys of the survey, `star`, `part`, `snr`, `good_fraction`; of each label x, e_x
and known_x; tensors `extra`, `flux`, `ivar`. Row groups are small and not packed, so that a few rows anywhere
are read in little time: whoever shuffles whole groups (`Store.starts`) reads at many times that speed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.columns import schema
from engine.errors import PlanError
from engine.train.store_stars import PARTS, LabelledSpectra
from engine.types import Column

ABOUT = "set.json"
FORMAT = 1
OPENED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A finished training set. Row group g holds rows starts[g] … starts[g + 1] - 1 of them all."""

    folder: Path
    about: Mapping[str, Any]
    names: tuple[str, ...]
    file_G: tuple[str, ...]
    group_G: tuple[int, ...]
    starts: tuple[int, ...]

    def __len__(self) -> int:
        return self.starts[-1]


def stars_schema(keys: tuple[Column, ...], names: tuple[str, ...], *, pixels: int, extras: int) -> pa.Schema:
    """The columns of a training set on disk."""
    labels = [
        field
        for name in names
        for field in (
            pa.field(name, pa.float32()),
            pa.field(f"e_{name}", pa.float32()),
            pa.field(f"known_{name}", pa.bool_()),
        )
    ]
    tensor = lambda size: pa.fixed_shape_tensor(pa.float32(), [size])  # noqa: E731
    tensors = {"extra": extras, "flux": pixels, "ivar": pixels}
    return pa.schema(
        [
            *schema(keys),
            pa.field("star", pa.string()),
            pa.field("part", pa.string()),
            pa.field("snr", pa.float32()),
            pa.field("good_fraction", pa.float32()),
            *labels,
            *(pa.field(name, tensor(size)) for name, size in tensors.items() if size),
        ]
    )


def read_about(folder: Path) -> dict[str, Any] | None:
    """What set.json says; None where there is none. PlanError for one that cannot be read."""
    try:
        return json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PlanError(
            f"training_set.out: {folder / ABOUT} cannot be read: {error}; remove the folder"
        ) from error


def open_store(folder: Path) -> Store:
    """A finished training set; PlanError when it is none, or damaged."""
    about = read_about(folder)
    if about is None:
        raise PlanError(
            f"training_set.out: {folder} has no {ABOUT}: `abundant crossmatch` makes a training set"
        )
    files, groups, starts = [], [], [0]
    try:
        for name, rows in about["files"].items():
            footer = _footer(folder / name)
            if footer.num_rows != rows:
                raise ValueError(f"{name} has {footer.num_rows} rows, not {rows}")
            for group in range(footer.num_row_groups):
                files.append(name)
                groups.append(group)
                starts.append(starts[-1] + footer.row_group(group).num_rows)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise PlanError(
            f"training_set.out: {folder} is damaged: {error}; remove it, and make it anew"
        ) from error
    return Store(
        folder=folder,
        about=about,
        names=tuple(about["labels"]),
        file_G=tuple(files),
        group_G=tuple(groups),
        starts=tuple(starts),
    )


def load(store: Store) -> LabelledSpectra:
    """All stars."""
    return rows(store, np.arange(len(store)))


def labels_only(store: Store) -> LabelledSpectra:
    """All stars, without their pixels."""
    return rows(store, np.arange(len(store)), pixels=False)


def rows(store: Store, indices: np.ndarray, *, pixels: bool = True) -> LabelledSpectra:
    """Some stars in the order asked for; only the row groups that hold them are read, each once."""
    indices = np.asarray(indices, np.int64)
    if len(indices) and not 0 <= indices.min() <= indices.max() < len(store):
        raise IndexError(f"rows {indices.min()} … {indices.max()} of a training set of {len(store)}")
    shape: Mapping[str, int] = store.about["shape"]
    found = _empty(len(indices), len(store.names), shape["pixels"] if pixels else 0, shape["extras"])
    group_N = np.searchsorted(store.starts, indices, side="right") - 1
    order = np.argsort(group_N, kind="stable")
    groups, firsts = np.unique(group_N[order], return_index=True)
    wanted = zip(groups.tolist(), np.split(order, firsts)[1:], strict=True)
    columns = _columns(store, pixels)
    for name, some in groupby(wanted, key=lambda pair: store.file_G[pair[0]]):
        path = store.folder / name
        with pq.ParquetFile(path, metadata=_footer(path), memory_map=True) as file:
            for group, places in some:
                read = file.read_row_group(store.group_G[group], columns=columns, use_threads=False)
                _fill(found, places, read, indices[places] - store.starts[group], store.names)
    return found


def _empty(rows: int, labels: int, pixels: int, extras: int) -> LabelledSpectra:
    return LabelledSpectra(
        flux_NP=np.empty((rows, pixels), np.float32),
        ivar_NP=np.empty((rows, pixels), np.float32),
        snr_N=np.empty(rows, np.float32),
        extra_NE=np.empty((rows, extras), np.float32),
        label_NL=np.empty((rows, labels), np.float32),
        error_NL=np.empty((rows, labels), np.float32),
        known_NL=np.empty((rows, labels), bool),
        part_N=np.empty(rows, np.int64),
    )


def _fill(
    found: LabelledSpectra, places: np.ndarray, group: pa.Table, within: np.ndarray, names: tuple[str, ...]
) -> None:
    """Put rows `within` a row group to their places."""
    tensors = {"flux": found.flux_NP, "ivar": found.ivar_NP, "extra": found.extra_NE}
    for name, out in tensors.items():
        if out.shape[1]:
            values: Any = group[name].combine_chunks()
            out[places] = values.to_numpy_ndarray()[within]
    found.snr_N[places] = group["snr"].to_numpy()[within]
    found.part_N[places] = [PARTS.index(part) for part in group["part"].take(within).to_pylist()]
    for i, name in enumerate(names):
        found.label_NL[places, i] = group[name].to_numpy()[within]
        found.error_NL[places, i] = group[f"e_{name}"].to_numpy()[within]
        found.known_NL[places, i] = group[f"known_{name}"].to_numpy()[within]


def _columns(store: Store, pixels: bool) -> list[str]:
    names = [f"{kind}{name}" for name in store.names for kind in ("", "e_", "known_")]
    names += ["part", "snr", *(["extra"] if store.about["shape"]["extras"] else [])]
    return names + (["flux", "ivar"] if pixels else [])


def _footer(path: Path) -> pq.FileMetaData:
    status = path.stat()
    return _footer_of(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=OPENED)
def _footer_of(path: Path, *_stamp: int) -> pq.FileMetaData:
    return pq.read_metadata(path)
