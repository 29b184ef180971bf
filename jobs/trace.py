"""A row of a catalog traced back: to its file, HDUs and row there, its task, bundle, spec and program."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from catalogs.export.known import Known, known, section
from catalogs.manifest import Manifest, origin
from engine.surveys import SURVEYS
from engine.surveys.survey import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Where a row's spectrum is: a file below the survey's root, the row, and its place in the file."""

    file: str
    row: int
    root: str | None
    place: Place

    @property
    def address(self) -> str:
        """The file with its root, where the manifest knows it."""
        return self.file if self.root is None else f"{self.root.rstrip('/')}/{self.file}"


def trace(row: Mapping[str, Any], manifest: Manifest) -> Trace | None:
    """Where the row's spectrum is; None where its shard_id or row_in_shard is NULL."""
    if row["shard_id"] is None or row["row_in_shard"] is None:
        return None
    file, number = origin(manifest, row["shard_id"], row["row_in_shard"])
    about = known(manifest)
    survey = SURVEYS.get(about.survey or "")
    spectra = str(section(about.spec, "survey").get("spectra", "coadds"))
    place = survey.place_of(file, number, spectra) if survey else Place()
    return Trace(file=file, row=number, root=about.root, place=place)


def traced(row: Mapping[str, Any], manifest: Manifest) -> Iterator[tuple[str, str]]:
    """All that is known of where a row comes from, as names and words."""
    found = trace(row, manifest)
    if found is None:
        yield "file", "unknown: shard_id or row_in_shard is NULL"
    else:
        yield "file", found.address
        yield "row", f"{found.row} of its spectra, from 0"
        hdus = ", ".join(found.place.hdus)
        if said := "; ".join(part for part in (hdus, found.place.remark) if part):
            yield "HDUs", said
    yield "task", str(row["task_id"])
    for failure in manifest.get("failures", []):
        if failure["task_id"] == row["task_id"]:
            yield "failed", failure["reason"]
    yield from _made_by(known(manifest))


def _made_by(about: Known) -> Iterator[tuple[str, str]]:
    """Bundle, spec and program, as far as the manifest has them."""
    if about.bundle is not None:
        path = section(about.spec, "model").get("bundle")
        parts = (about.bundle, about.architecture, f"at {path}" if path else None)
        yield "bundle", ", ".join(part for part in parts if part)
        yield "bundle sha256", about.bundle_sha256 or "unknown"
    if about.spec:
        yield "spec", f"{_chosen(about.spec)}in full as plan.spec in manifest.json"
    yield "plan digest", about.plan_digest
    if about.code is not None:
        others = ", ".join(f"{name} {one}" for name, one in about.versions.items() if name != "abundant")
        yield "code", f"Abundant {about.code}{f' ({others})' if others else ''}"


def _chosen(spec: Mapping[str, Any]) -> str:
    """What decided on the row: how rows were selected, and how networks were drawn."""
    select, sampling = section(spec, "survey", "select"), section(spec, "sampling")
    parts = [f"select by {select['by']}"] if "by" in select else []
    parts += [f"{name} {sampling[name]}" for name in ("draws", "seed") if name in sampling]
    return f"{', '.join(parts)}; " if parts else ""
