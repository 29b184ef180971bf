"""Labelled spectra of a survey, cut and shared out by a hash of each star's id."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from engine.auxiliary import Table, join
from engine.errors import PlanError, ShardError
from engine.flags import DOUBTS, RowFacts
from engine.models.architecture import Architecture
from engine.spec import SurveySpec
from engine.surveys.survey import Survey
from engine.surveys.tasks import cut
from engine.train.labels import Labels, read_labels
from engine.train.spec import Cuts, Split, TrainSpec
from engine.types import Bools, Floats, Normalised

PARTS = ("train", "validation", "calibration", "test")
STEPS: tuple[str, ...] = ("spectra", "unreadable_tasks", "with_labels", "without_doubts", "after_cuts")

# Few enough that their arrays fit into memory, whatever the survey and the size of its files.
ROWS_AT_ONCE = 512
OnShard = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledSpectra:
    """Normalised spectra, extras, labels and the labels' own errors, shape (N, L).

    `known_NL` is False where a label is missing; an error is 0 where the table gives none.
    """

    flux_NP: Floats
    ivar_NP: Floats
    snr_N: Floats
    extra_NE: Floats
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


def read_training_set(
    spec: TrainSpec,
    survey: Survey,
    architecture: Architecture,
    tables: Sequence[Table],
    on_shard: OnShard,
) -> tuple[LabelledSpectra, dict[str, int]]:
    """The labelled spectra that pass the cuts, and how many spectra were left after each step.

    PlanError when nothing is left. Tasks that cannot be read are counted and passed over.
    """
    labels = read_labels(spec.labels, survey)
    shards = sorted(survey.list_shards(spec.survey), key=lambda shard: shard.path)
    counts = dict.fromkeys(STEPS, 0)
    parts = []
    tasks = [task for shard in shards for task in cut(shard, ROWS_AT_ONCE)]
    for done, task in enumerate(tasks, start=1):
        try:
            spectra = join(survey.read(spec.survey, task), tables)
        except ShardError:
            counts["unreadable_tasks"] += 1
            continue
        counts["spectra"] += len(spectra)
        parts += _labelled(spectra, labels, spec, survey, architecture, counts)
        on_shard(done, len(tasks))
    if not parts:
        raise PlanError(
            f"no spectrum is left to train on: {counts}. "
            "Check [labels] path and key against the survey, and [cuts]."
        )
    return _concatenate(parts), counts


def _labelled(
    spectra: pa.Table,
    labels: Labels,
    spec: TrainSpec,
    survey: Survey,
    architecture: Architecture,
    counts: dict[str, int],
) -> list[LabelledSpectra]:
    """The stars of one file that have labels and pass the cuts: one part, or none."""
    row_N = labels.rows(spectra, spec.labels.key)
    trusted_N = (row_N >= 0) & ~doubtful(spectra, spec.survey, survey)
    counts["with_labels"] += int((row_N >= 0).sum())
    counts["without_doubts"] += int(trusted_N.sum())
    spectra, row_N = spectra.filter(pa.array(trusted_N)), row_N[trusted_N]
    normalised = architecture.normalise(spectra, survey.spectrograph, architecture.input)
    extra_NE = architecture.beside(spectra).value_NE
    good_N = _passes(normalised, spec.cuts) & ~np.isnan(extra_NE).any(axis=1)
    counts["after_cuts"] += int(good_N.sum())
    if not good_N.any():
        return []
    value_NL, error_NL = labels.value_NL[row_N[good_N]], labels.error_NL[row_N[good_N]]
    stars = [star for star, good in zip(survey.stars(spectra), good_N, strict=True) if good]
    return [
        LabelledSpectra(
            flux_NP=normalised.flux_NP[good_N],
            ivar_NP=normalised.ivar_NP[good_N],
            snr_N=normalised.snr_N[good_N],
            extra_NE=extra_NE[good_N],
            label_NL=value_NL,
            error_NL=error_NL,
            known_NL=np.isfinite(value_NL) & np.isfinite(error_NL),
            part_N=np.array([part_of(star, spec.split) for star in stars]),
        )
    ]


def doubtful(spectra: pa.Table, spec: SurveySpec, survey: Survey) -> Bools:
    """Which rows a run would flag before any network sees them: no teachers."""
    velocity = ("NO_VELOCITY", "VELOCITY_DOUBTFUL")
    asked = [name for name in DOUBTS if spec.rv.source != "none" or name not in velocity]
    facts = RowFacts(spectra=spectra, frame=survey.frame)
    return np.logical_or.reduce([DOUBTS[name](facts) for name in asked])


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
