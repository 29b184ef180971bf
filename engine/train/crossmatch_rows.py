"""The spectra of a task -> the rows of a training set: labels looked up, cut, prepared, shared out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from engine.auxiliary import Table
from engine.flags import DOUBTS, RowFacts
from engine.models.architecture import Architecture
from engine.spec import SurveySpec
from engine.surveys.survey import Survey
from engine.train.crossmatch_tally import Tally
from engine.train.cuts import Rules, least, met, passed, prepared_columns, ranks
from engine.train.labels import Labels, Matched
from engine.train.spec import Split, TrainSpec
from engine.train.store import stars_schema
from engine.train.store_stars import PARTS
from engine.types import Bools, Floats, Normalised


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """All that decides which spectra become which rows."""

    spec: TrainSpec
    survey: Survey
    architecture: Architecture
    tables: Sequence[Table]
    labels: Labels
    rules: Rules


def follow(road: Road, spectra: pa.Table, tally: Tally) -> pa.Table | None:
    """The rows of a training set that a task's spectra become; None when there is none."""
    matched = road.labels.match(spectra, road.survey.stars(spectra))
    columns = _scalars(spectra) | _ours(matched)
    doubts_N = doubtful(spectra, road.spec.survey, road.survey)
    early_N = passed([matched.there_N, ~doubts_N, *met(road.rules.before, columns)])
    before = 2 + len(road.rules.before)
    kept = np.flatnonzero(early_N == before)
    left = spectra.take(kept)
    normalised = road.architecture.normalise(left, road.survey.spectrograph, road.architecture.input)
    extra_NE = road.architecture.beside(left).value_NE
    columns = {name: values.take(kept) for name, values in columns.items()} | prepared_columns(normalised)
    late = [
        *met(road.rules.after, columns),
        *least(normalised, road.rules.own),
        ~np.isnan(extra_NE).any(axis=1),
    ]
    late_N = passed(late)
    early_N[kept] += late_N
    tally.spectra += len(spectra)
    tally.ambiguous += int((matched.ambiguous_N & matched.there_N).sum())
    tally.add(
        [star for star, there in zip(matched.stars, matched.there_N, strict=True) if there],
        early_N[matched.there_N],
    )
    good = np.flatnonzero(late_N == len(late))
    if not len(good):
        return None
    tally.rank.append(ranks(road.rules, columns, len(kept))[good])
    return _rows(road, spectra, matched, kept[good], _chosen(normalised, good), extra_NE[good], tally)


def _scalars(spectra: pa.Table) -> dict[str, Any]:
    return {
        field.name: spectra[field.name]
        for field in spectra.schema
        if not isinstance(field.type, pa.FixedShapeTensorType)
    }


def _ours(matched: Matched) -> dict[str, Any]:
    return {name: matched.columns[name] for name in matched.columns.column_names}


def _chosen(spectra: Normalised, rows: np.ndarray) -> Normalised:
    return Normalised(**{name: getattr(spectra, name)[rows] for name in Normalised.__slots__})


def _rows(
    road: Road,
    spectra: pa.Table,
    matched: Matched,
    rows: np.ndarray,
    normalised: Normalised,
    extra_NE: Floats,
    tally: Tally,
) -> pa.Table:
    """Rows as they are stored, of some spectra."""
    names, references, keys = road.spec.labels.names, road.spec.labels.reference, road.survey.keys
    stars = [matched.stars[row] for row in rows]
    part_N = np.array([part_of(star, road.spec.split) for star in stars])
    tally.part.append(part_N)
    columns: dict[str, Any] = {key.name: spectra[key.name].take(rows) for key in keys}
    columns |= {"star": stars, "part": [PARTS[part] for part in part_N]}
    columns |= {"snr": normalised.snr_N, "good_fraction": normalised.good_fraction_N}
    for i, name in enumerate(names):
        columns |= {
            name: matched.label_NL[rows, i],
            f"e_{name}": matched.error_NL[rows, i],
            f"known_{name}": matched.known_NL[rows, i],
        }
        if name in references and matched.reference_NL is not None:
            columns[f"reference_{name}"] = matched.reference_NL[rows, i]
    tensors = {"extra": extra_NE, "flux": normalised.flux_NP, "ivar": normalised.ivar_NP}
    for name, values in tensors.items():
        if values.shape[1]:
            whole = np.ascontiguousarray(values, np.float32)
            columns[name] = pa.FixedShapeTensorArray.from_numpy_ndarray(whole)
    shape = {"pixels": normalised.flux_NP.shape[1], "extras": extra_NE.shape[1]}
    return pa.table(columns, schema=stars_schema(keys, names, references, **shape))


def doubtful(spectra: pa.Table, spec: SurveySpec, survey: Survey) -> Bools:
    """Which rows a run would flag before any network sees them: no teachers."""
    velocity = ("NO_VELOCITY", "VELOCITY_DOUBTFUL")
    asked = [name for name in DOUBTS if spec.rv.source != "none" or name not in velocity]
    facts = RowFacts(spectra=spectra, frame=survey.frame)
    return np.logical_or.reduce([DOUBTS[name](facts) for name in asked])


def part_of(star: object, split: Split) -> int:
    """The part, an index into PARTS, that a star belongs to: the same for every spectrum of it."""
    hashed = hashlib.sha256(f"{split.seed}:{star}".encode()).digest()
    share = int.from_bytes(hashed[:8], "big") / 2**64
    edges = np.cumsum([split.validation, split.calibration, split.test])
    after = int(np.searchsorted(edges, share, side="right"))
    return (after + 1) % len(PARTS)
