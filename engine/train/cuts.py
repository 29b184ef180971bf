"""Cuts: conditions with a name, on what labels, spectra and their preparation say of a star, in order.

A name means, in this order: a label, an error or another of `[labels.columns]`; our `snr` and
`good_fraction`; a column of the label table; a column of the spectra, auxiliary tables joined.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from engine.auxiliary.sorted_copy import KEY
from engine.errors import PlanError
from engine.train.cuts_language import Expression, column, parse
from engine.train.cuts_values import conditions, numbers
from engine.train.labels import Labels
from engine.train.match_asked import PLACE, REFERENCE
from engine.train.spec import Cuts
from engine.types import Bools, Column, Doubles, Normalised

PREPARED = ("snr", "good_fraction")
HIDDEN = (KEY, *(f"_{name}" for name in PLACE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The cuts of a spec: those that come `before` spectra are prepared, those `after`; what ranks spectra.

    The order is that of the spec: the first that needs a prepared spectrum is the first of `after`.
    """

    before: Mapping[str, Expression]
    after: Mapping[str, Expression]
    best: Expression | None
    own: Cuts

    @property
    def steps(self) -> tuple[str, ...]:
        """What a spectrum passes, by name."""
        least = ("min_snr", "min_good_fraction", "inputs")
        return ("with_labels", "without_doubts", *self.before, *self.after, *least)


def cut_expressions(cuts: Cuts) -> tuple[dict[str, Expression], Expression | None]:
    """The cuts of a spec and what ranks spectra, understood; PlanError for one that is no expression."""
    found = {name: parse(text, f"cuts.{name}") for name, text in cuts.named.items()}
    for each in found.values():
        if not each.names:
            raise PlanError(f"{each.where}: {each.text!r} names no column; compare one with something")
    return found, column(cuts.best_snr, "cuts.best_snr") if cuts.best_snr else None


def named_columns(cuts: Cuts) -> set[str]:
    """Every column that cuts name, but what we measure ourselves."""
    found, best = cut_expressions(cuts)
    parts = [*found.values(), *([best] if best else [])]
    return {name for each in parts for name in each.names} - {*PREPARED}


def make_rules(cuts: Cuts, labels: Labels, spectra: Sequence[Column]) -> Rules:
    """The cuts, ready to be asked; PlanError for one that names no column or is no condition."""
    found, best = cut_expressions(cuts)
    kinds = {each.name: each.type for each in spectra if not isinstance(each.type, pa.FixedShapeTensorType)}
    kinds |= {field.name: field.type for field in labels.schema if not _is_hidden(field.name)}
    kinds |= dict.fromkeys(PREPARED, pa.float32())
    nothing = {name: pa.array([], kind) for name, kind in kinds.items()}
    for each in (*found.values(), *([best] if best else [])):
        if unknown := sorted(each.names - kinds.keys()):
            raise PlanError(
                f"{each.where}: there is no column {', '.join(unknown)}. Ours: {', '.join(sorted(kinds))}; "
                f"the label table has {', '.join(labels.have)}"
            )
    for each in found.values():
        conditions(each, nothing)
    if best is not None:
        numbers(best, nothing)
    names = list(found)
    late = next((i for i, name in enumerate(names) if found[name].names & {*PREPARED}), len(names))
    return Rules(
        before={name: found[name] for name in names[:late]},
        after={name: found[name] for name in names[late:]},
        best=best,
        own=cuts,
    )


def _is_hidden(name: str) -> bool:
    return name in HIDDEN or name.startswith(REFERENCE)


def met(rules: Mapping[str, Expression], columns: Mapping[str, Any]) -> list[Bools]:
    """For each cut, which rows meet it."""
    return [conditions(rule, columns) for rule in rules.values()]


def prepared_columns(spectra: Normalised) -> dict[str, pa.Array]:
    """What we measure of spectra, for cuts."""
    return {"snr": pa.array(spectra.snr_N), "good_fraction": pa.array(spectra.good_fraction_N)}


def least(spectra: Normalised, cuts: Cuts) -> list[Bools]:
    """The cuts that every training has."""
    return [spectra.snr_N >= cuts.min_snr, spectra.good_fraction_N >= cuts.min_good_fraction]


def ranks(rules: Rules, columns: Mapping[str, Any], rows: int) -> Doubles:
    """How good spectra are among those of their star."""
    if rules.best is None:
        return np.zeros(rows)
    return np.nan_to_num(numbers(rules.best, columns), nan=-np.inf)


def passed(steps: Sequence[Bools]) -> np.ndarray:
    """How many steps each row passes before the first that it does not."""
    return np.cumprod(np.stack(steps), axis=0, dtype=np.int64).sum(axis=0)
