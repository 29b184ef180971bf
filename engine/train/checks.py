"""Are there stars enough to learn each label, to calibrate its error, and to report on it?"""

import numpy as np

from engine.errors import PlanError
from engine.train.dataset import PARTS, LabelledSpectra
from engine.train.spec import TrainSpec
from engine.train.validate import derived_labels, with_derived

# With fewer stars of a label in a part, calibration and test say nothing of it.
LEAST_STARS = 20


def check_stars(spec: TrainSpec, stars: LabelledSpectra) -> None:
    """PlanError, with the counts of every label it is about, before the first epoch."""
    training = len(stars.part("train"))
    if training < spec.training.batch:
        raise PlanError(
            f"{training} training stars are fewer than one batch of {spec.training.batch}; "
            "lower [training] batch or loosen [cuts]"
        )
    derived = derived_labels(spec.labels.names)
    names = (*spec.labels.names, *(item.name for item in derived))
    label_NL, known_NL, _ = with_derived(stars, spec.labels.names, derived)
    _check_counts(names, known_NL, stars.part_N)
    train_N = stars.part_N == PARTS.index("train")
    for name, label_N, known_N in zip(names, label_NL.T, known_NL.T, strict=True):
        values = label_N[train_N & known_N]
        if values.min() == values.max():
            raise PlanError(
                f"label {name} is {values[0]:g} for each of the {len(values)} training stars that have it: "
                "there is nothing to learn from it; leave it out of [labels] names"
            )


def _check_counts(names: tuple[str, ...], known_NL: np.ndarray, part_N: np.ndarray) -> None:
    counts_LQ = np.stack([known_NL[part_N == i].sum(axis=0) for i in range(len(PARTS))], axis=1)
    few = [
        f"  {name}: " + ", ".join(f"{count} for {part}" for part, count in zip(PARTS, counts, strict=True))
        for name, counts in zip(names, counts_LQ, strict=True)
        if counts.min() < LEAST_STARS
    ]
    if few:
        raise PlanError(
            f"fewer than {LEAST_STARS} stars have these labels:\n" + "\n".join(few) + "\n"
            "Add rows to the label table, loosen [cuts], change [split], or leave the label out."
        )
