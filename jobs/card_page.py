"""A model card as Markdown: readable as it is, and in a terminal."""

import json
from collections.abc import Iterator, Sequence

from engine.models import MODELS
from engine.models.card import Card, LabelCard, ThresholdCard

Rows = Sequence[Sequence[str]]


def card_page(card: Card, digest: str) -> str:
    """The whole card, `digest` being that of the bundle."""
    return "\n".join((*_head(card, digest), *_labels(card), *_errors(card), *_reach(card), *_lineage(card)))


def _head(card: Card, digest: str) -> Iterator[str]:
    yield f"# {_plain(card.name)}\n"
    architecture = MODELS.get(card.architecture)
    if architecture is not None:
        yield f"{_plain(architecture.title)} ({_plain(architecture.reference)})\n"
    draws = "uncalibrated"
    if card.sampling is not None:
        draws = f"{card.sampling.draws} draws, seed {card.sampling.seed}"
        draws = draws if card.sampling.draws else "members alone, without dropout"
    facts = (
        ("architecture", card.architecture),
        ("hyper-parameters", ", ".join(f"{name} = {value}" for name, value in card.hyper.items())),
        ("members", str(card.members)),
        ("sampling", draws),
        ("licence", card.licence),
        ("sha256 of the bundle", digest),
        ("sha256 of the weights", card.weights_sha256),
    )
    yield from (f"- {name}: {_plain(value)}" for name, value in facts if value)
    yield ""


def _labels(card: Card) -> Iterator[str]:
    yield "## Labels and their training range\n"
    derived = {item.name: f", {item.minuend} − {item.subtrahend} per draw" for item in card.derived}
    rows = [
        (x.name, _unit(x), *map(_number, (x.low, x.high)), x.description + derived.get(x.name, ""))
        for x in card.labels
    ]
    yield from _table(("label", "unit", "from", "to", "meaning"), rows)


def _errors(card: Card) -> Iterator[str]:
    """How the labels did on test stars, and how their errors were calibrated."""
    tested = [label for label in card.labels if label.test_scatter is not None]
    if tested:
        yield "## Test stars\n"
        yield "Shares lie within one raw error, one calibrated error (68.3 % is right) and 1.96 (95 %).\n"
        rows = [
            (label.name, *map(_number, (label.test_bias, label.test_scatter)), *map(_share, _shares(label)))
            for label in tested
        ]
        yield from _table(("label", "bias", "robust scatter", "raw", "68 %", "95 %"), rows)
        yield from _chi2(card)
    yield "## Calibration\n"
    knots = [(label.name, *knot) for label in card.labels for knot in _knots(label)]
    if not knots:
        yield "Errors are as they are drawn: nobody has held them against stars of known labels.\n"
        return
    yield "error² = (scale × raw)² + floor², interpolated in log(S/N) between knots.\n"
    yield from _table(("label", "S/N", "scale", "floor"), knots)


def _chi2(card: Card) -> Iterator[str]:
    """Chi-square on test stars, with the weights that were kept; nothing where it is not known."""
    if isinstance(found := card.lineage.get("test_chi2"), float | int):
        yield f"χ² per label of the test stars: {_number(found)}, {_plain(weights_of(card))}.\n"


def weights_of(card: Card) -> str:
    """Whose weights a training kept: those of which epoch, or of several members."""
    members = card.lineage.get("members")
    if not isinstance(members, list) or len(members) != 1 or not isinstance(members[0], dict):
        return "the mean over the members that were kept, without dropout"
    return f"with the weights of epoch {members[0].get('epoch')}, without dropout"


def _knots(label: LabelCard) -> Iterator[tuple[str, str, str]]:
    found = label.calibration
    if found is not None:
        for snr, scale, floor in zip(found.snr, found.scale, found.floor, strict=True):
            yield _number(snr), _number(scale), f"{_number(floor)} {_unit(label)}"


def _shares(label: LabelCard) -> tuple[float | None, ...]:
    return label.test_coverage_raw, label.test_coverage, label.test_coverage_95


def _reach(card: Card) -> Iterator[str]:
    """Limits of what it takes beside spectra, and from where on a star is unlike the training set."""
    if card.limits:
        yield "## Training range of other inputs\n"
        rows = [(limit.name, _number(limit.low), _number(limit.high)) for limit in card.limits]
        yield from _table(("input", "from", "to"), rows)
    if card.thresholds:
        yield "## Unlike the training set\n"
        yield "Scores above which a star is flagged, by S/N where they follow it.\n"
        rows = [(name, _threshold(limit)) for name, limit in card.thresholds.items()]
        yield from _table(("score", "limit"), rows)


def _threshold(limit: float | ThresholdCard) -> str:
    if isinstance(limit, float | int):
        return _number(limit)
    pairs = zip(limit.snr, limit.limit, strict=True)
    return "; ".join(f"{_number(value)} at {_number(snr)}" for snr, value in pairs)


def _lineage(card: Card) -> Iterator[str]:
    yield "## Lineage\n"
    text = json.dumps(card.lineage, indent=2, sort_keys=True, default=str, ensure_ascii=False)
    yield "\n".join(f"    {line}" for line in _printable(text, keep="\n").split("\n"))
    yield ""


def _table(heads: Sequence[str], rows: Rows) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(map(_plain, row))} |" for row in rows)
    yield ""


def _unit(label: LabelCard) -> str:
    return "dex" if label.unit.startswith("log(") else label.unit


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _plain(text: str) -> str:
    """Text that Markdown and a terminal take as it is: a card may come from anybody."""
    return "".join(f"\\{x}" if x in "\\`*|<" else x for x in _printable(text)).replace("](", "]\\(")


def _printable(text: str, keep: str = "") -> str:
    return "".join(x if x.isprintable() or x in keep else " " for x in text)
