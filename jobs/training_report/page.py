"""The report as one page of HTML that needs nothing beside it."""

import json
from base64 import b64encode
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from jinja2 import Environment, StrictUndefined

from engine.models import MODELS
from engine.models.card import Card
from engine.train.report import Bin, LabelSummary, Spread, Validation, summary
from jobs.card_page import weights_of
from jobs.training_report.axes import DPI, SHORT_UNITS, number
from jobs.training_report.figures import Picture
from jobs.training_report.template import TEMPLATE

AXES = {"snr": "S/N per pixel", "teff": "true Teff [K]", "fe_h": "true [Fe/H]", "m_h": "true [M/H]"}
Row = tuple[str, ...]


def page(validation: Validation, card: Card, drawn: Sequence[Picture]) -> str:
    """The whole report as text."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    found = summary(validation)
    return environment.from_string(TEMPLATE).render(
        card=card,
        split=validation.split,
        facts=_facts(validation, card),
        labels=[_label(label) for label in found],
        reference=validation.reference,
        versus=[row for label in found for row in _versus(label, validation.reference, card.name)],
        bins=[(label.name, list(_bins(label))) for label in found if label.bins],
        figures=[(kind, [_image(x) for x in some]) for kind, some in groupby(drawn, lambda x: x.kind)],
        lineage=json.dumps(card.lineage, indent=2, sort_keys=True, default=str, ensure_ascii=False),
    )


def _facts(validation: Validation, card: Card) -> list[Row]:
    """What and of whom this is."""
    architecture = MODELS.get(card.architecture)
    named = f"{card.architecture}: {architecture.title} ({architecture.reference})" if architecture else ""
    draws = "uncalibrated"
    if card.sampling is not None:
        draws = f"{card.sampling.draws} draws, seed {card.sampling.seed}"
    best = next((str(epoch.number) for epoch in reversed(validation.history) if epoch.best), "")
    pairs = (
        ("network", named or card.architecture),
        ("members", str(card.members)),
        ("sampling", draws),
        ("stars", f"{len(validation):,} of the part “{validation.split}”, which taught nothing"),
        ("epochs", f"{len(validation.history)}, weights of epoch {best}" if best else ""),
        ("χ² per label", _chi2(validation, card)),
        ("reference pipeline", validation.reference),
        ("licence", card.licence),
        ("sha256 of the weights", card.weights_sha256),
    )
    return [pair for pair in pairs if pair[1]]


def _chi2(validation: Validation, card: Card) -> str:
    """Chi-square on the stars of the report, with the weights that validation stars chose."""
    return "" if validation.chi2 is None else f"{validation.chi2:.3g}, {weights_of(card)}"


def _label(found: LabelSummary) -> Row:
    unit, spread, honesty = found.unit, found.spread, found.honesty
    return (
        found.name,
        SHORT_UNITS.get(unit, unit),
        f"{spread.stars:,}" + (f" ({found.missing:,} without result)" if found.missing else ""),
        *_spread(spread, unit),
        number(found.label_error, unit),
        *(_share(x) for x in (honesty.raw_68, honesty.within_68, honesty.within_95)),
        number(honesty.pull, ""),
    )


def _spread(found: Spread, unit: str) -> Row:
    bias = f"{number(found.bias, unit)} ± {number(found.e_bias, unit)}"
    return bias, number(found.robust, unit), number(found.scatter, unit)


def _share(value: float) -> str:
    return f"{100 * value:.1f}" if value == value else "–"


def _versus(found: LabelSummary, reference: str, network: str) -> Iterator[Row]:
    """Two rows for a label that both give: who, stars, bias, scatters."""
    if found.versus is None:
        return
    for who, spread in ((reference, found.versus.reference), (network, found.versus.network)):
        unit = SHORT_UNITS.get(found.unit, found.unit)
        yield found.name, unit, who, f"{spread.stars:,}", *_spread(spread, found.unit)


def _bins(found: LabelSummary) -> Iterator[Row]:
    for part in found.bins:
        shares = (part.honesty.within_68, part.honesty.within_95)
        numbers = _spread(part.spread, found.unit)
        yield AXES[part.axis], _range(part), f"{part.spread.stars:,}", *numbers, *map(_share, shares)


def _range(part: Bin) -> str:
    low, high = (f"{edge:g}".replace("-", "−") for edge in (part.low, part.high))
    if np.isinf(part.low):
        return f"below {high}"
    return f"from {low}" if np.isinf(part.high) else f"{low} to {high}"


def _image(drawn: Picture) -> tuple[str, int, str]:
    """Name, width on the page, and content for a data URI."""
    # PNG: its width in pixels stands at byte 16.
    width = int.from_bytes(drawn.png[16:20], "big") * 100 // DPI
    return drawn.file, width, b64encode(drawn.png).decode()
