"""The label table: what is known of stars, looked up for spectra by key or by position."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from engine.auxiliary.lookup import rows_of
from engine.auxiliary.sorted_copy import KEY, part_path
from engine.columns import SCALARS, describe_label
from engine.errors import PlanError, ShardUnavailable
from engine.surveys.survey import Survey
from engine.train.match_asked import PLACE, REFERENCE, columns_asked
from engine.train.match_sky import Sky, nearest, open_sky
from engine.train.match_sql import NULL, SLASH
from engine.train.match_table import ABOUT, About, label_copy
from engine.train.spec import LabelTable
from engine.types import Bools, Floats

Errors: TypeAlias = Literal["own", "floored", "free"]
"""Of a label: they must be there; a floor stands in for them; no loss needs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """What N spectra have in the label table. A row's columns are NULL where there is none.

    An error is 0 where the table gives none; `known_NL` is False where a label is missing. `reference_NL` is
    what another pipeline says, NaN where it says nothing; None where the spec names none.
    """

    there_N: Bools
    ambiguous_N: Bools
    stars: Sequence[str]
    columns: pa.Table
    label_NL: Floats
    error_NL: Floats
    known_NL: Bools
    reference_NL: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """A label table, ready to be asked: `schema` is what a match gives, `have` all that it could have."""

    table: LabelTable
    sha256: str
    folder: Path
    about: About
    key_type: pa.DataType
    errors: Mapping[str, Errors]
    sky: Sky | None
    schema: pa.Schema
    have: tuple[str, ...]

    def match(self, spectra: pa.Table, stars: Sequence[str]) -> Matched:
        """The row of each spectrum; `stars` tells whose it is, unless it is found by position."""
        nobody_N = np.zeros(len(spectra), bool)
        if self.sky is None:
            return self._found(_keys(spectra, self.table.key or (), self.key_type), nobody_N, stars)
        near = nearest(self.sky, spectra)
        keys = pa.array(near.row_N, mask=near.row_N < 0)
        return self._found(keys, near.ambiguous_N, [f"label row {star}" for star in near.star_N])

    def _found(self, keys: pa.Array, ambiguous_N: Bools, stars: Sequence[str]) -> Matched:
        try:
            rows = rows_of(self.folder, keys)
        except (OSError, pa.ArrowException) as error:
            raise ShardUnavailable(
                f"labels: the sorted copy of {self.table.path} in the cache cannot be read: {error}; "
                "where it is damaged, remove it from $ABUNDANT_CACHE/auxiliary"
            ) from error
        names = self.table.names
        label_NL = np.stack([_floats(rows, name) for name in names], axis=1)
        error_NL = np.stack([self._errors(rows, name) for name in names], axis=1)
        known_NL = np.isfinite(label_NL) & np.isfinite(error_NL)
        return Matched(
            there_N=np.asarray(known_NL.any(axis=1)),
            ambiguous_N=ambiguous_N,
            stars=stars,
            columns=rows,
            label_NL=label_NL,
            error_NL=error_NL,
            known_NL=known_NL,
            reference_NL=self._references(rows),
        )

    def _references(self, rows: pa.Table) -> Floats | None:
        """What the reference pipeline says, shape (N, L); None without one."""
        asked = self.table.reference
        if not asked:
            return None
        nothing_N = np.full(len(rows), np.nan, np.float32)
        columns = [
            _floats(rows, f"{REFERENCE}{name}") if name in asked else nothing_N for name in self.table.names
        ]
        return np.stack(columns, axis=1)

    def _errors(self, rows: pa.Table, name: str) -> Floats:
        """The label's own errors: NaN where one is needed and missing, 0 where none is needed."""
        own = _floats(rows, f"e_{name}") if f"e_{name}" in rows.column_names else np.zeros(len(rows), "f4")
        return own if self.errors[name] == "own" else np.where(own > 0, own, np.float32(0))


def read_labels(
    table: LabelTable, survey: Survey, *, cut_names: Collection[str] = (), needs_errors: bool = True
) -> Labels:
    """The label table; PlanError, with the remedy, for one that cannot be joined or learnt from.

    `cut_names` are the columns that cuts name, as far as the table has them.
    """
    types = {column.name: column.type for column in (*survey.keys, *SCALARS)}
    _check_names(table, survey, types)
    asked = columns_asked(table, cut_names)
    kinds = {name: _kind(types[name]) for name in table.key or ()}
    folder = label_copy(table, asked, kinds)
    about = About(**json.loads((folder / ABOUT).read_text(encoding="utf-8")))
    errors: dict[str, Errors] = {name: _rule(table, name, about, needs_errors) for name in table.names}
    return Labels(
        table=table,
        sha256=asked.sha256,
        folder=folder,
        about=about,
        key_type=pa.int64() if not kinds else next(iter(kinds.values())) if len(kinds) == 1 else pa.string(),
        errors=errors,
        sky=_open_sky(table, folder),
        schema=pq.read_schema(part_path(folder, 0)),
        have=asked.have,
    )


def _open_sky(table: LabelTable, folder: Path) -> Sky | None:
    if table.sky is None:
        return None
    wanted = [KEY, *(f"_{name}" for name in PLACE if getattr(table.sky, name) is not None)]
    parts = pa.concat_tables(pq.read_table(part, columns=wanted) for part in sorted(folder.glob("part-*")))
    return open_sky({name: parts[name].to_numpy() for name in wanted}, KEY, table.sky)


def _check_names(table: LabelTable, survey: Survey, have: Collection[str]) -> None:
    """PlanError for a key column that the survey does not have, and for a label that nobody knows."""
    if unknown := [name for name in table.key or () if name not in have]:
        raise PlanError(
            f"labels.key: {survey.name} has no column {', '.join(unknown)}; it has {', '.join(have)}"
        )
    for name in table.names:
        try:
            describe_label(name)
        except ValueError as error:
            raise PlanError(f"labels.names: {error}") from None


def _rule(table: LabelTable, name: str, about: About, needed: bool) -> Errors:
    """What holds for the errors of a label; PlanError where they are needed and not good enough."""
    if table.error_floor.get(name, 0.0) > 0:
        return "floored"
    if not needed:
        return "free"
    counts = about.labels[name]
    if counts["unusable"] or (counts["known"] and not counts["errors"]):
        found = f"{counts['errors']} have an e_{name}, {counts['unusable']} of them zero or negative"
        raise PlanError(
            f"label {name} has errors that are zero or missing (of {counts['known']} rows with it {found}); "
            f"give [labels] error_floor.{name} in its unit, or a loss that needs none (mse, robust)"
        )
    return "own"


def _kind(kind: pa.DataType) -> pa.DataType:
    """How a key is compared: as integer or as text."""
    return pa.int64() if pa.types.is_integer(kind) else pa.string()


def _keys(spectra: pa.Table, names: Sequence[str], kind: pa.DataType) -> pa.Array:
    """One key for each spectrum, as in the sorted copy; NULL for one without any."""
    columns = [spectra[name].combine_chunks() for name in names]
    if len(columns) == 1:
        return columns[0].cast(kind)
    texts: list[Any] = [column.cast(pa.string()) for column in columns]
    joined = pc.call_function(
        "binary_join_element_wise",
        [*texts, SLASH],
        pc.JoinOptions(null_handling="replace", null_replacement=NULL),
    )
    nothing_N = np.logical_and.reduce([column.is_null().to_numpy(zero_copy_only=False) for column in columns])
    return pc.call_function("if_else", [pa.array(nothing_N), pa.scalar(None, pa.string()), joined])


def _floats(table: pa.Table, name: str) -> Floats:
    return table[name].fill_null(np.nan).to_numpy().astype(np.float32, copy=False)
