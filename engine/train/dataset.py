"""The stars that a network learns from, in memory: made where they are not there, and loaded."""

from engine.train.crossmatch import crossmatch
from engine.train.crossmatch_make import OnShard
from engine.train.crossmatch_rows import doubtful, part_of
from engine.train.spec import TrainSpec
from engine.train.store import load
from engine.train.store_stars import PARTS, LabelledSpectra

__all__ = ["PARTS", "LabelledSpectra", "OnShard", "doubtful", "part_of", "read_training_set"]


def read_training_set(spec: TrainSpec, on_shard: OnShard) -> tuple[LabelledSpectra, dict[str, int]]:
    """The labelled spectra that pass the cuts, and how many spectra were left after each step.

    PlanError where the parts of the spec do not fit, and when nothing is left. Tasks that cannot be read are
    counted and passed over.
    """
    store = crossmatch(spec, on_shard=on_shard).store
    return load(store), dict(store.about["counts"])
