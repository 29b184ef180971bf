"""Labelled spectra of a survey, cut and shared out by a hash of each star's id."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.columns import describe_label
from engine.errors import PlanError, ShardError
from engine.models.architecture import Architecture
from engine.spec import Cuts, LabelTable, Split, TrainSpec
from engine.surveys.survey import Survey
from engine.types import Bools, Floats, Normalised, Task

PARTS = ("train", "validation", "calibration", "test")
OnShard = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSpectra:
    """Normalised spectra with labels and the labels' own errors, shape (N, L).

    `known_NL` is False where a label is missing; an error is 0 where the table gives none.
    """

    flux_NP: Floats
    ivar_NP: Floats
    label_NL: Floats
    error_NL: Floats
    known_NL: Bools
    part_N: np.ndarray

    def part(self, name: str) -> "LabelledSpectra":
        """The stars of one part: train, validation, calibration or test."""
        return self.take(self.part_N == PARTS.index(name))

    def take(self, rows: np.ndarray) -> "LabelledSpectra":
        """Some of the stars."""
        return LabelledSpectra(**{name: getattr(self, name)[rows] for name in self.__slots__})

    def __len__(self) -> int:
        return len(self.flux_NP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """A label table in memory, looked up by key."""

    row_of: dict[tuple, int]
    value_NL: Floats
    error_NL: Floats


def read_training_set(
    spec: TrainSpec, survey: Survey, architecture: Architecture, on_shard: OnShard
) -> tuple[LabelledSpectra, dict[str, int]]:
    """The labelled spectra that pass the cuts, and how many spectra were seen, matched and kept.

    PlanError when nothing is left. Files that cannot be read are counted and passed over.
    """
    labels = read_labels(spec.labels)
    shards = sorted(survey.list_shards(spec.survey), key=lambda shard: shard.path)
    counts: dict[str, int] = {"spectra": 0, "unreadable_files": 0, "with_labels": 0, "after_cuts": 0}
    parts = []
    for done, shard in enumerate(shards, start=1):
        task = Task(task_id=shard.shard_id, shard=shard, start=0, stop=shard.rows)
        try:
            spectra = survey.read(spec.survey, task)
        except ShardError:
            counts["unreadable_files"] += 1
            continue
        counts["spectra"] += len(spectra)
        parts.extend(_label(spectra, labels, spec, survey, architecture, counts))
        on_shard(done, len(shards))
    if not parts:
        raise PlanError(
            f"no spectrum is left to train on: {counts}. "
            "Check [labels] path and key against the survey, and [cuts]."
        )
    return _concatenate(parts), counts


def _label(
    spectra: pa.Table,
    labels: Labels,
    spec: TrainSpec,
    survey: Survey,
    architecture: Architecture,
    counts: dict[str, int],
) -> Iterator[LabelledSpectra]:
    """The stars of one file that have labels and pass the cuts; nothing if there is none."""
    keys = list(zip(*(spectra[name].to_pylist() for name in spec.labels.key), strict=True))
    matched = np.array([key in labels.row_of for key in keys], bool)
    counts["with_labels"] += int(matched.sum())
    if not matched.any():
        return
    normalised = architecture.normalise(
        spectra.filter(pa.array(matched)), survey.spectrograph, architecture.grid
    )
    good = _passes(normalised, spec.cuts)
    counts["after_cuts"] += int(good.sum())
    keys = [key for key, keep in zip(keys, matched, strict=True) if keep]
    rows = np.array([labels.row_of[key] for key in keys])[good]
    stars = [key[-1] for key, keep in zip(keys, good, strict=True) if keep]
    if len(rows):
        yield LabelledSpectra(
            flux_NP=normalised.flux_NP[good],
            ivar_NP=normalised.ivar_NP[good],
            label_NL=labels.value_NL[rows],
            error_NL=labels.error_NL[rows],
            known_NL=np.isfinite(labels.value_NL[rows]) & np.isfinite(labels.error_NL[rows]),
            part_N=np.array([part_of(star, spec.split) for star in stars]),
        )


def _passes(spectra: Normalised, cuts: Cuts) -> Bools:
    return (spectra.snr_N >= cuts.min_snr) & (spectra.good_fraction_N >= cuts.min_good_fraction)


def _concatenate(parts: list[LabelledSpectra]) -> LabelledSpectra:
    names = LabelledSpectra.__slots__
    return LabelledSpectra(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )


def part_of(star: object, split: Split) -> int:
    """The part, an index into PARTS, that a star belongs to: the same for every spectrum of it."""
    hashed = hashlib.sha256(f"{split.seed}:{star}".encode()).digest()
    share = int.from_bytes(hashed[:8], "big") / 2**64
    edges = np.cumsum([split.validation, split.calibration, split.test])
    after = int(np.searchsorted(edges, share, side="right"))
    return (after + 1) % len(PARTS)


def read_labels(table: LabelTable) -> Labels:
    """The label table; PlanError when a column, or a label's error, is missing, or a key is doubled."""
    for name in table.names:
        _known_name(name)
    try:
        found = pq.read_table(table.path)
    except (OSError, pa.ArrowInvalid) as error:
        raise PlanError(f"labels.path: {table.path} cannot be read as Parquet: {error}") from error
    missing = [name for name in (*table.key, *table.names) if name not in found.column_names]
    if missing:
        raise PlanError(
            f"{table.path} has no column {', '.join(missing)}; it has {', '.join(found.column_names)}"
        )
    errors = [_errors(found, name, table) for name in table.names]
    keys = list(zip(*(found[name].to_pylist() for name in table.key), strict=True))
    row_of = {key: row for row, key in enumerate(keys)}
    if len(row_of) < len(keys):
        doubled = next(key for row, key in enumerate(keys) if row_of[key] != row)
        raise PlanError(f"{table.path}: {len(keys) - len(row_of)} rows repeat a key, such as {doubled}")
    return Labels(
        row_of=row_of,
        value_NL=np.stack([_floats(found, name) for name in table.names], axis=1),
        error_NL=np.stack(errors, axis=1),
    )


def _known_name(name: str) -> None:
    try:
        describe_label(name)
    except ValueError as error:
        raise PlanError(f"labels.names: {error}") from None


def _floats(table: pa.Table, name: str) -> Floats:
    return table[name].cast(pa.float32()).fill_null(np.nan).to_numpy()


def _errors(table: pa.Table, name: str, spec: LabelTable) -> Floats:
    own = (
        _floats(table, f"e_{name}") if f"e_{name}" in table.column_names else np.zeros(len(table), np.float32)
    )
    if not (own[np.isfinite(own)] > 0).all() and not spec.error_floor.get(name, 0.0) > 0:
        raise PlanError(
            f"label {name} has errors that are zero or missing; give [labels] error_floor.{name} in its unit"
        )
    return own
