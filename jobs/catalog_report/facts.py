"""What a catalog is, and its tables, as text."""

from collections.abc import Iterator, Sequence
from typing import Any

from catalogs.layout import MANIFEST, sha256_file
from catalogs.overview import Overview
from catalogs.overview.known import card_of
from catalogs.overview.records import Distribution, Failed, Speed
from catalogs.read import Catalog
from engine.flags import FLAGS
from engine.models import MODELS
from engine.surveys import SURVEYS
from jobs.catalog_report.bottleneck import work_of
from jobs.catalog_report.words import few, plain, share, short

Row = tuple[str, ...]


def headline(catalog: Catalog, found: Overview) -> list[Row]:
    """The numbers on top: what, how many, in words."""
    rows = catalog.manifest["rows"]
    total = rows["total"]
    return [
        ("rows", f"{total:,}", "one per input row"),
        ("stars", f"{found.stars:,}", f"{found.stars_with_result:,} with a result"),
        ("ok", f"{rows['ok']:,}", share(rows["ok"], total)),
        ("flagged", f"{rows['flagged']:,}", share(rows["flagged"], total)),
        ("no result", f"{rows['no_result']:,}", share(rows["no_result"], total)),
        ("failed tasks", f"{len(catalog.manifest.get('failures', [])):,}", f"of {_tasks(catalog)}"),
    ]


def facts(catalog: Catalog) -> list[Row]:
    """Survey, model, bundle, versions and digests, as far as the manifest has them."""
    manifest, card = catalog.manifest, card_of(catalog)
    plan: dict[str, Any] = dict(manifest.get("plan", {}))
    spec, versions = plan.get("spec", {}), plan.get("versions", {})
    pairs = (
        ("survey", _survey(spec.get("survey", {}))),
        ("model", _model(card)),
        ("bundle", " · ".join(_known(card.get("name"), spec.get("model", {}).get("bundle")))),
        ("labels", f"{len(card.get('labels', ()))}, {len(catalog.schema)} columns"),
        ("draws", _draws(spec.get("sampling") or {}, card)),
        ("published", str(manifest.get("created", ""))),
        ("size", _size(catalog)),
        ("plan", manifest["plan_digest"]),
        ("sha256 of the bundle", str(plan.get("bundle_sha256") or "")),
        ("sha256 of the weights", str(card.get("weights_sha256") or "")),
        ("sha256 of the manifest", sha256_file(catalog.path / MANIFEST)),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        (
            "machine",
            ", ".join(_known(plan.get("machine"), plan.get("python") and f"Python {plan['python']}")),
        ),
    )
    return [pair for pair in pairs if pair[1]]


def _tasks(catalog: Catalog) -> str:
    tasks = catalog.manifest.get("tasks")
    return f"{tasks:,}" if isinstance(tasks, int) else "an unknown number"


def _size(catalog: Catalog) -> str:
    partitions = [file for file in catalog.manifest["files"].values() if "rows" in file]
    size = f"{sum(file['bytes'] for file in partitions) / 2**20:,.1f} MiB"
    return f"{size} in {len(partitions):,} partition{'' if len(partitions) == 1 else 's'}"


def _known(*words: object) -> list[str]:
    return [str(word) for word in words if word]


def _survey(spec: dict[str, Any]) -> str:
    survey = SURVEYS.get(spec.get("name", ""))
    title = f"{survey.title} ({survey.name})" if survey else str(spec.get("name", ""))
    select = (spec.get("select") or {}).get("by")
    return ", ".join(_known(title, select and f"selected by {select}", spec.get("root")))


def _model(card: Any) -> str:
    model = MODELS.get(card.get("architecture", ""))
    return f"{model.title} ({model.name}): {model.reference}" if model else str(card.get("architecture", ""))


def _draws(sampling: dict[str, Any], card: Any) -> str:
    if "draws" not in sampling:
        return ""
    members = card.get("members", 1)
    networks = f" of each of {members} networks" if members > 1 else ""
    return f"{sampling['draws']}{networks}, seed {sampling.get('seed')}, {sampling.get('precision', '')}"


def flags(catalog: Catalog) -> list[Row]:
    """Every flag that a row carries, most frequent first: name, severity, rows, share, meaning."""
    entries = {entry.get("bit"): entry for entry in catalog.manifest.get("flags", [])}
    known: dict[int, Row] = {flag.bit: (flag.name, flag.severity, flag.text) for flag in FLAGS}
    known |= {
        bit: (one["name"], one["severity"], one["text"])
        for bit, one in entries.items()
        if isinstance(bit, int)
    }
    total, found = catalog.manifest["rows"]["total"], []
    counted = {int(bit): rows for bit, rows in catalog.manifest["flag_counts"].items() if rows}
    for bit, rows in sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])):
        name, severity, text = known.get(bit, (f"BIT_{bit}", "unknown", "this program does not know it"))
        found.append((name, severity, f"{rows:,}", share(rows, total), text))
    return found


def coverage(distributions: Sequence[Distribution]) -> Iterator[Row]:
    """Rows of the table of training ranges, a label each."""
    for one in distributions:
        known = one.low is not None and one.high is not None
        ends = (few(one.low), few(one.high)) if one.low is not None and one.high is not None else ("–", "–")
        sides = (one.below, one.inside, one.above) if known else ()
        shares = [share(side, one.rows) for side in sides] or ["–"] * 3
        occupied = "–" if one.occupied is None else f"{one.occupied:.0%}".replace("%", " %")
        yield one.name, plain(one.name), short(one.unit), f"{one.rows:,}", *ends, *shares, occupied


def failed(found: Sequence[Failed]) -> list[Row]:
    """Reason, tasks, rows and an example."""
    return [(one.reason, f"{one.tasks:,}", f"{one.rows:,}", one.example or "–") for one in found]


def speed(found: Speed | None) -> list[Row]:
    """Stage, seconds of work, its share, rows per second of one worker, milliseconds per row."""
    if found is None:
        return []
    work = work_of(found)
    total = sum(work.values())
    return [
        (
            stage,
            few(seconds),
            share(seconds, total),
            f"{found.rows / seconds:,.0f}" if seconds > 0 else "–",
            f"{1000 * seconds / found.rows:.3g}" if found.rows else "–",
        )
        for stage, seconds in work.items()
    ]


def commit_steps(found: Speed | None) -> list[Row]:
    """Step of the commit, its seconds, its share."""
    steps = {} if found is None else found.commit
    return [(step, few(spent), share(spent, sum(steps.values()))) for step, spent in steps.items()]


def run(found: Speed) -> str:
    """On what a run was done, in one line."""
    workers = f"{found.workers:,} worker{'' if found.workers == 1 else 's'}" if found.workers else ""
    gpus = f"{found.gpus:g} GPU{'' if found.gpus == 1 else 's'}" if found.gpus else ""
    return ", ".join(_known(workers, gpus, *found.machines))
