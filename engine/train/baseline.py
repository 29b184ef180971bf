"""What labels alone would give: each abundance predicted from Teff, logg and [Fe/H], without any spectrum.

Abundances follow from those three to within a few hundredths of a dex for most stars, so that a small scatter
does not show that a network reads lines. One that is clearly better than this baseline has found something
in the spectrum that the three labels do not hold; not necessarily the element's own lines, since elements
vary together. The baseline knows the labels' own Teff, logg and [Fe/H], which the network must find: one that
is no better may still read the spectrum.

Legend: N spectra, L labels, Q predictors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.columns import describe_label
from engine.errors import PlanError
from engine.models.bundle import CARD, load_card
from engine.models.card import Card
from engine.train.checks import LEAST_STARS
from engine.train.dataset import PARTS, LabelledSpectra, OnShard, read_training_set
from engine.train.regress import Sample, fit_best, robust_scatter, scatter_error
from engine.train.spec import TrainSpec
from engine.train.validate import derived_labels, with_derived
from engine.types import Bools

# What a network must be better by: so many errors, and at least this factor, since a better regressor could
# win a little of it.
SIGMAS, LEAST_FACTOR = 3.0, 1.1
USED = ("train", "validation", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far labels alone get with one label on `stars` test stars, and the network; None = not known.

    Scatters are 1.4826 times the median absolute deviation, as on the card. `e_scatter` is the bootstrap's.
    """

    name: str
    unit: str
    stars: int
    regressor: str = ""
    bias: float | None = None
    scatter: float | None = None
    e_scatter: float | None = None
    network: float | None = None

    @property
    def factor(self) -> tuple[float, float] | None:
        """Scatter of the baseline over that of the network, and its error.

        The card keeps no residuals: relatively, the network's scatter is taken to be as uncertain.
        """
        if not self.scatter or not self.network or self.e_scatter is None:
            return None
        factor = self.scatter / self.network
        return factor, factor * np.sqrt(2) * self.e_scatter / self.scatter

    @property
    def verdict(self) -> str:
        """What that says of the network."""
        if self.scatter is None:
            return f"too few stars (< {LEAST_STARS})"
        if self.factor is None:
            return ""
        factor, error = self.factor
        if factor - SIGMAS * error > 1 and factor >= LEAST_FACTOR:
            return "uses the spectrum"
        return "worse than labels" if factor + SIGMAS * error < 1 else "not shown"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineReport:
    """A row for each label, what they were predicted from, and the card of the network, if there is one."""

    predictors: tuple[str, ...]
    reaches: tuple[Reach, ...]
    card: Card | None


def baseline(spec: TrainSpec, *, on_shard: OnShard) -> BaselineReport:
    """Predict labels from labels, on the stars and with the split of a training; InputError with the remedy.

    The network is that of the training's bundle, where it is there already.
    """
    predictors, card = predictors_of(spec.labels.names), _card(spec)
    scatters = {} if card is None else {label.name: label.test_scatter for label in card.labels}
    stars, _ = read_training_set(spec, on_shard)
    return BaselineReport(
        predictors=predictors, reaches=reaches(stars, spec.labels.names, scatters), card=card
    )


def predictors_of(names: Sequence[str]) -> tuple[str, ...]:
    """Teff, logg and [Fe/H], or [M/H] without it; PlanError without them, or with nothing else to predict."""
    predictors = ("teff", "logg", "m_h" if "m_h" in names and "fe_h" not in names else "fe_h")
    if missing := [name for name in predictors if name not in names]:
        raise PlanError(
            f"labels.names: the baseline predicts from {', '.join(predictors)}, and {', '.join(missing)} is "
            "not among the labels: add it, with its column in the label table"
        )
    if len(names) == len(predictors):
        raise PlanError(
            f"labels.names: beside {', '.join(predictors)} there is no label to predict: add one, "
            "such as mg_h"
        )
    return predictors


def _card(spec: TrainSpec) -> Card | None:
    """The card of the bundle, None if it is not there; PlanError if other stars tested it."""
    folder = spec.bundle.out
    if not (folder / CARD).exists():
        return None
    card = load_card(folder)
    if "spec" not in card.lineage:
        raise PlanError(
            f"bundle.out: {folder} does not say which stars tested it: name a new place to see the "
            "baseline alone"
        )
    ours = _tested_on(spec.model_dump(mode="json", by_alias=True, exclude_none=True))
    theirs = _tested_on(card.lineage["spec"])
    if differ := [key for key in ours if ours[key] != theirs[key]]:
        raise PlanError(
            f"bundle.out: {folder} was trained with other {', '.join(differ)}, so that its test stars are "
            "not those of this spec: give the spec it was trained with, or name a new place"
        )
    return card


def _tested_on(spec: Mapping[str, Any]) -> Mapping[str, object]:
    """What decides which stars test a network, and with which labels."""
    keys = {"survey": ("name", "select"), "labels": ("key", "names")}
    parts = {f"[{part}] {key}": spec[part].get(key) for part, names in keys.items() for key in names}
    return parts | {f"[{part}]": spec.get(part) for part in ("cuts", "split")}


def reaches(
    stars: LabelledSpectra, names: Sequence[str], network: Mapping[str, float | None]
) -> tuple[Reach, ...]:
    """A row for each label but the predictors, derived ones last; `network` holds its scatters by label."""
    derived, predictors = derived_labels(names), predictors_of(names)
    label_NL, known_NL, _ = with_derived(stars, names, derived)
    columns = [names.index(name) for name in predictors]
    x_NQ, known_N = label_NL[:, columns].astype(np.float64), np.all(known_NL[:, columns], axis=1)
    # Spectra of one star have one row of the label table.
    star_N = np.unique(np.nan_to_num(stars.label_NL, nan=1e30), axis=0, return_inverse=True)[1].reshape(-1)
    found = []
    for i, name in enumerate((*names, *(item.name for item in derived))):
        if name not in predictors:
            sample = Sample(x_NQ=x_NQ, y_N=label_NL[:, i].astype(np.float64))
            usable = {part: known_N & known_NL[:, i] & (stars.part_N == PARTS.index(part)) for part in USED}
            found.append(_reach(name, sample, usable, star_N, network.get(name)))
    return tuple(found)


def _reach(
    name: str, sample: Sample, usable: Mapping[str, Bools], star_N: np.ndarray, network: float | None
) -> Reach:
    unit = describe_label(name)[0]
    counts = {part: len(np.unique(star_N[rows_N])) for part, rows_N in usable.items()}
    if min(counts.values()) < LEAST_STARS:
        return Reach(name=name, unit=unit, stars=counts["test"], network=network)
    # The spectra of one star would be one another's neighbours.
    once_N = np.zeros(len(star_N), bool)
    once_N[np.unique(np.where(usable["train"], star_N, -1), return_index=True)[1]] = True
    chosen, predict = fit_best(sample.take(usable["train"] & once_N), sample.take(usable["validation"]))
    test = sample.take(usable["test"])
    residual_N = predict(test.x_NQ) - test.y_N
    return Reach(
        name=name,
        unit=unit,
        stars=counts["test"],
        regressor=chosen,
        bias=float(np.median(residual_N)),
        scatter=robust_scatter(residual_N),
        e_scatter=scatter_error(residual_N, star_N[usable["test"]]),
        network=network,
    )
