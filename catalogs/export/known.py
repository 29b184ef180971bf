"""What a catalog's manifest says of where it comes from. Catalogs outlive programs: what it lacks is None."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from catalogs.manifest import Manifest
from engine.models import MODELS
from engine.surveys import SURVEYS

OURS = re.compile(r"\b(ours|yours)\b")
UNKNOWN_LICENCES = frozenset(("", "unspecified", "unknown"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A catalog's provenance."""

    name: str
    version: str
    created: str | None
    plan_digest: str
    survey: str | None = None
    survey_title: str | None = None
    survey_reference: str | None = None
    root: str | None = None
    bundle: str | None = None
    bundle_sha256: str | None = None
    bundle_licence: str | None = None
    architecture: str | None = None
    model_reference: str | None = None
    code: str | None = None
    """The version of Abundant that made the labels."""
    versions: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """What the catalog is, in a line."""
        of = f" for spectra of {self.survey_title}" if self.survey_title else ""
        return f"Stellar labels{of}: catalog {self.name}, version {self.version}"


def known(manifest: Manifest) -> Known:
    """What a manifest says."""
    said, spec = section(manifest, "plan"), section(manifest, "plan", "spec")
    card, versions = section(manifest, "plan", "card"), section(manifest, "plan", "versions")
    survey = SURVEYS.get(_text(section(spec, "survey"), "name") or "")
    model = MODELS.get(_text(card, "architecture") or "")
    licence = _text(card, "licence")
    return Known(
        name=manifest["catalog"]["name"],
        version=manifest["catalog"]["version"],
        created=_text(manifest, "created"),
        plan_digest=manifest["plan_digest"],
        survey=_text(section(spec, "survey"), "name"),
        survey_title=survey.title if survey else None,
        survey_reference=_published(survey.reference) if survey else None,
        root=_text(section(spec, "survey"), "root"),
        bundle=_text(card, "name"),
        bundle_sha256=_text(said, "bundle_sha256"),
        bundle_licence=None if (licence or "").casefold() in UNKNOWN_LICENCES else licence,
        architecture=_text(card, "architecture"),
        model_reference=_published(model.reference) if model else None,
        code=_text(versions, "abundant"),
        versions={name: one for name, one in versions.items() if isinstance(one, str)},
        spec=spec,
        card=card,
        warnings=tuple(one for one in _listed(manifest, "warnings") if isinstance(one, str)),
    )


def files_of(manifest: Manifest) -> list[str]:
    """The input files, by their paths below the survey's root, in the manifest's order."""
    groups = (
        [shard] if isinstance(shard, str) else [file for file, _ in shard]
        for shard in manifest.get("shards", {}).values()
    )
    return list(chain.from_iterable(groups))


def section(of: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """What stands under some keys, one inside the other; empty where there is no such section."""
    for key in keys:
        inner = of.get(key)
        of = inner if isinstance(inner, dict) else {}
    return of


def _published(reference: str) -> str | None:
    """What others have published of a registered reference; None where it says that all is ours, or yours."""
    parts = (part.strip() for part in reference.split(";"))
    return "; ".join(part for part in parts if not OURS.search(part)) or None


def _text(of: Mapping[str, Any], key: str) -> str | None:
    value = of.get(key)
    return value if isinstance(value, str) else None


def _listed(of: Mapping[str, Any], key: str) -> list[Any]:
    value = of.get(key)
    return value if isinstance(value, list) else []
