"""The training set on disk: prepared stars in Parquet, and set.json with where they come from.

One row for each spectrum: keys of the survey, `star`, `part`, `snr`, `good_fraction`; of each label x, e_x
and known_x, and reference_x where the spec names one; tensors `extra`, `flux`, `ivar`. Row groups are small
and not packed, so that a few rows anywhere are read in little time: whoever shuffles whole groups
(`Store.starts`) reads at many times that speed.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
    """A finished training set. Row group g holds rows starts[g] … starts[g + 1] - 1 of them all.

    `references` are the labels that another pipeline has too, `ids` the columns that name a row.
    """

    folder: Path
    about: Mapping[str, Any]
    names: tuple[str, ...]
    references: tuple[str, ...]
    ids: tuple[str, ...]
    file_G: tuple[str, ...]
    group_G: tuple[int, ...]
    starts: tuple[int, ...]

    def __len__(self) -> int:
        return self.starts[-1]


def stars_schema(
    keys: tuple[Column, ...],
    names: tuple[str, ...],
    references: Collection[str] = (),
    *,
    pixels: int,
    extras: int,
) -> pa.Schema:
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
            *(pa.field(f"reference_{name}", pa.float32()) for name in names if name in references),
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
    ids: list[str] = []
    try:
        for name, rows in about["files"].items():
            footer = _footer(folder / name)
            if footer.num_rows != rows:
                raise ValueError(f"{name} has {footer.num_rows} rows, not {rows}")
            ids = ids or _ids(footer)
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
        references=tuple(about.get("references", ())),
        ids=tuple(ids),
        file_G=tuple(files),
        group_G=tuple(groups),
        starts=tuple(starts),
    )


def _ids(footer: pq.FileMetaData) -> list[str]:
    """The columns that name a row: the survey's keys and the star, which come first."""
    names = footer.schema.to_arrow_schema().names
    return names[: names.index("star") + 1]


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
    found = _empty(store, len(indices), store.about["shape"]["pixels"] if pixels else 0)
    ids, placed = [], []
    for places, group, within in _groups(store, indices, _columns(store, pixels)):
        _fill(found, places, group, within, store)
        ids.append(group.select(list(store.ids)).take(within))
        placed.append(places)
    return replace(found, ids=_in_order(ids, placed))


def _groups(
    store: Store, indices: np.ndarray, columns: list[str]
) -> Iterator[tuple[np.ndarray, pa.Table, np.ndarray]]:
    """Each row group that holds some of the rows: their places among `indices`, the group, rows within it."""
    group_N = np.searchsorted(store.starts, indices, side="right") - 1
    order = np.argsort(group_N, kind="stable")
    groups, firsts = np.unique(group_N[order], return_index=True)
    wanted = zip(groups.tolist(), np.split(order, firsts)[1:], strict=True)
    for name, some in groupby(wanted, key=lambda pair: store.file_G[pair[0]]):
        path = store.folder / name
        with pq.ParquetFile(path, metadata=_footer(path), memory_map=True) as file:
            for group, places in some:
                read = file.read_row_group(store.group_G[group], columns=columns, use_threads=False)
                yield places, read, indices[places] - store.starts[group]


def _in_order(pieces: Sequence[pa.Table], places: Sequence[np.ndarray]) -> pa.Table | None:
    """Tables whose rows belong to these places, as one; None where there is nothing."""
    if not pieces:
        return None
    return pa.concat_tables(pieces).take(np.argsort(np.concatenate(places))).combine_chunks()


def _empty(store: Store, rows: int, pixels: int) -> LabelledSpectra:
    labels, extras = len(store.names), store.about["shape"]["extras"]
    return LabelledSpectra(
        flux_NP=np.empty((rows, pixels), np.float32),
        ivar_NP=np.empty((rows, pixels), np.float32),
        snr_N=np.empty(rows, np.float32),
        extra_NE=np.empty((rows, extras), np.float32),
        label_NL=np.empty((rows, labels), np.float32),
        error_NL=np.empty((rows, labels), np.float32),
        known_NL=np.empty((rows, labels), bool),
        part_N=np.empty(rows, np.int64),
        reference_NL=np.full((rows, labels), np.nan, np.float32) if store.references else None,
    )


def _fill(
    found: LabelledSpectra, places: np.ndarray, group: pa.Table, within: np.ndarray, store: Store
) -> None:
    """Put rows `within` a row group to their places."""
    tensors = {"flux": found.flux_NP, "ivar": found.ivar_NP, "extra": found.extra_NE}
    for name, out in tensors.items():
        if out.shape[1]:
            values: Any = group[name].combine_chunks()
            out[places] = values.to_numpy_ndarray()[within]
    found.snr_N[places] = group["snr"].to_numpy()[within]
    found.part_N[places] = [PARTS.index(part) for part in group["part"].take(within).to_pylist()]
    for i, name in enumerate(store.names):
        found.label_NL[places, i] = group[name].to_numpy()[within]
        found.error_NL[places, i] = group[f"e_{name}"].to_numpy()[within]
        found.known_NL[places, i] = group[f"known_{name}"].to_numpy()[within]
        if found.reference_NL is not None and name in store.references:
            found.reference_NL[places, i] = group[f"reference_{name}"].to_numpy()[within]


def _columns(store: Store, pixels: bool) -> list[str]:
    names = [f"{kind}{name}" for name in store.names for kind in ("", "e_", "known_")]
    names += [*store.ids, *(f"reference_{name}" for name in store.references)]
    names += ["part", "snr", *(["extra"] if store.about["shape"]["extras"] else [])]
    return names + (["flux", "ivar"] if pixels else [])


def _footer(path: Path) -> pq.FileMetaData:
    status = path.stat()
    return _footer_of(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=OPENED)
def _footer_of(path: Path, *_stamp: int) -> pq.FileMetaData:
    return pq.read_metadata(path)
