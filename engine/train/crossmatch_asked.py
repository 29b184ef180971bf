"""What decides which stars a training set holds: its digest, and in what two sets differ."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from engine.auxiliary import Table
from engine.spec import SurveySpec, digest
from engine.surveys.pinned import sha256_of
from engine.train.labels import Labels
from engine.train.spec import TrainSpec
from engine.train.store import FORMAT
from engine.types import Shard


def asked_for(
    spec: TrainSpec, labels: Labels, tables: Sequence[Table], shards: Sequence[Shard]
) -> dict[str, Any]:
    """What was asked for, as plain values. Places are left out; what stands there is in."""
    return {
        "format": FORMAT,
        "abundant": version("abundant"),
        "survey": _survey(spec.survey),
        "files": {"shards": len(shards), "sha256": digest([_shard(shard) for shard in shards])},
        "auxiliary": [
            each.spec.model_dump(mode="json", exclude={"path"}) | {"sha256": each.sha256} for each in tables
        ],
        "labels": spec.labels.content() | {"sha256": labels.sha256, "errors": dict(labels.errors)},
        "cuts": {"said": spec.cuts.model_dump(mode="json"), "order": list(spec.cuts.named)},
        "split": spec.split.model_dump(mode="json"),
        "model": spec.model.name,
    }


def _shard(shard: Shard) -> list[str | int]:
    return [shard.shard_id, shard.rows, shard.fingerprint, shard.fingerprint_beside]


def _survey(spec: SurveySpec) -> dict[str, Any]:
    """The survey without its place, with the sha256 of the files that it names."""
    plain = spec.model_dump(mode="json", by_alias=True, exclude={"root", "storage"})
    for key, part in (("select", spec.select), ("rv", spec.rv)):
        del plain[key]["path"]
        if part.path is not None and part.path.is_file():
            plain[key]["sha256"] = sha256_of(part.path)
    return plain


def differing(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> tuple[str, ...]:
    """The sections in which two sets were asked for differently."""
    return tuple(name for name in ours if ours[name] != theirs.get(name))
