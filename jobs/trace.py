"""A row of a catalog traced back: to its file, HDUs and row there, its task, bundle, spec and program."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from catalogs.export.known import Known, known, section
from catalogs.manifest import Manifest, origin
from engine.surveys.desi.layout import IMAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Where a row's spectrum is: a file below the survey's root, HDUs in it, and how the row counts there.

    HDUs are names, or numbers from 0 as text; none where the file is no FITS or each file has its own.
    """

    file: str
    row: int
    root: str | None
    hdus: tuple[str, ...]
    remark: str

    @property
    def address(self) -> str:
        """The file with its root, where the manifest knows it."""
        return self.file if self.root is None else f"{self.root}/{self.file}"


def trace(row: Mapping[str, Any], manifest: Manifest) -> Trace | None:
    """Where the row's spectrum is; None where its shard_id or row_in_shard is NULL."""
    if row["shard_id"] is None or row["row_in_shard"] is None:
        return None
    file, number = origin(manifest, row["shard_id"], row["row_in_shard"])
    about = known(manifest)
    place = PLACES.get(about.survey or "")
    hdus, remark = place(file, number, about.spec) if place else ((), "")
    return Trace(file=file, row=number, root=about.root, hdus=hdus, remark=remark)


def traced(row: Mapping[str, Any], manifest: Manifest) -> Iterator[tuple[str, str]]:
    """All that is known of where a row comes from, as names and words."""
    found = trace(row, manifest)
    if found is None:
        yield "file", "unknown: shard_id or row_in_shard is NULL"
    else:
        yield "file", found.address
        yield "row", f"{found.row} of its spectra, from 0"
        if found.hdus or found.remark:
            yield "HDUs", "; ".join(part for part in (", ".join(found.hdus), found.remark) if part)
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


Place = tuple[tuple[str, ...], str]


def _desi(_file: str, _row: int, _spec: Mapping[str, Any]) -> Place:
    return ("FIBERMAP", *dict.fromkeys(hdu for hdu, _ in IMAGES.values())), "this row of each"


def _apogee(file: str, row: int, spec: Mapping[str, Any]) -> Place:
    kind = file.rpartition("/")[2].partition("-")[0]
    if kind.startswith("mwm"):
        return ("APOGEE/APO", "APOGEE/LCO"), "rows counted through both"
    if kind == "aspcapStar":
        return ("1", "2"), "one spectrum"
    if section(spec, "survey").get("spectra") == "visits":
        return ("1", "2", "3"), f"two coadds come first: row {row + 2}; a star of one visit has a vector"
    return ("1", "2", "3"), "the coadd, row 0 of each"


def _fixed(*hdus: str, remark: str) -> Callable[[str, int, Mapping[str, Any]], Place]:
    return lambda _file, _row, _spec: (hdus, remark)


PLACES: Mapping[str, Callable[[str, int, Mapping[str, Any]], Place]] = {
    "desi": _desi,
    "apogee": _apogee,
    "apogee_visit": _fixed("1", "2", "3", "4", remark="flux, errors, mask, wavelengths; a row for each chip"),
    "rave": _fixed("SPECTRUM", "ERROR", remark="one spectrum"),
    "galah": _fixed("0", "INPUT_SIGMA", remark="one spectrum; other cameras are files beside it"),
    "giraffe": _fixed(remark="its first table with wavelengths, else its first image"),
    "gaia_rvs": _fixed(remark="its one table"),
    "gaia_xp": _fixed(remark="its one table"),
    "gaia_xp_sampled": _fixed(remark="its one table"),
    "table": _fixed(remark="its one table"),
}
"""Where a survey's spectra are in their files, as its reader in engine/surveys/ looks for them."""
