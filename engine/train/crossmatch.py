"""From spectra and a label table to the stars that a network learns from, kept on disk.

`crossmatch` is the straight line: read a task, look up labels, cut, prepare, write. A set that is there
already, for the same spectra, labels and cuts, is taken as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.auxiliary import given_names, joined_columns, open_tables
from engine.auxiliary.cache import made_whole, remove_whole
from engine.errors import PlanError, RunError
from engine.models import MODELS
from engine.models.architecture import Architecture, handshake
from engine.spec import digest
from engine.surveys import survey_of
from engine.train.crossmatch_asked import asked_for, differing
from engine.train.crossmatch_make import OnShard, make_set
from engine.train.crossmatch_rows import Road
from engine.train.cuts import make_rules, named_columns
from engine.train.labels import read_labels
from engine.train.spec import TrainSpec
from engine.train.store import Store, open_store, read_about


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossmatch:
    """A training set, and whether it was there already; if another was in its place, in what it differed."""

    store: Store
    reused: bool
    replaced: tuple[str, ...] = ()


def crossmatch(spec: TrainSpec, *, on_shard: OnShard) -> Crossmatch:
    """The training set of a spec, made where it is not there; InputError with the remedy.

    PlanError when nothing is left, RunError on a full disk.
    """
    return _made_set(spec, _road(spec), on_shard)


def network_of(spec: TrainSpec) -> Architecture:
    """The network that a spec names; PlanError where there is none of that name."""
    if spec.model.name not in MODELS:
        raise PlanError(f"model.name: {spec.model.name!r} is unknown; known: {', '.join(MODELS)}")
    return MODELS[spec.model.name]


def set_place(spec: TrainSpec) -> Path:
    """Where the training set of a spec lies."""
    return spec.training_set.out or spec.bundle.out.with_name(f"{spec.bundle.out.name}-stars")


def _made_set(spec: TrainSpec, road: Road, on_shard: OnShard) -> Crossmatch:
    shards = sorted(road.survey.list_shards(spec.survey), key=lambda shard: shard.path)
    asked = asked_for(spec, road.labels, road.tables, shards)
    folder = set_place(spec)
    found = read_about(folder)
    if found is not None and found["digest"] == digest(asked) and not found["unavailable_tasks"]:
        on_shard(1, 1)
        return Crossmatch(store=open_store(folder), reused=True)
    try:
        replaced = _make_room(spec, folder, found, asked)
        made_whole(folder, lambda part: make_set(part, road, shards, asked, on_shard))
    except OSError as error:
        raise RunError(
            f"the training set cannot be written to {folder}: {error}; make room there, or name another "
            "place in [training_set] out"
        ) from error
    return Crossmatch(store=open_store(folder), reused=False, replaced=replaced)


def _road(spec: TrainSpec) -> Road:
    """The parts of a spec, opened; PlanError where they do not fit."""
    architecture, survey = network_of(spec), survey_of(spec.survey)
    tables = open_tables(spec.auxiliary, survey.columns)
    handshake(architecture, survey.name, survey.spectrograph, survey.fills.union(given_names(tables)))
    loss = spec.training.loss or architecture.loss
    labels = read_labels(spec.labels, survey, cut_names=named_columns(spec.cuts), needs_errors=loss == "chi2")
    rules = make_rules(spec.cuts, labels, (*survey.columns, *joined_columns(tables)))
    return Road(
        spec=spec, survey=survey, architecture=architecture, tables=tables, labels=labels, rules=rules
    )


def _make_room(
    spec: TrainSpec, folder: Path, found: Mapping[str, Any] | None, asked: Mapping[str, Any]
) -> tuple[str, ...]:
    """Take away a set of another spec; PlanError where that is not ours to decide."""
    if not folder.exists() or not any(folder.iterdir()):
        if folder.exists():
            folder.rmdir()
        return ()
    if found is None:
        raise PlanError(
            f"training_set.out: {folder} is not empty and holds no training set; choose a new place"
        )
    differ = differing(found["asked"], asked) or ("tasks that could not be read",)
    if spec.training_set.out is not None and found["digest"] != digest(asked):
        raise PlanError(
            f"training_set.out: {folder} holds the stars of another spec (other {', '.join(differ)}): remove "
            "it, or choose a new place"
        )
    remove_whole(folder)
    return differ
