"""verify(): is a published catalog what its manifest says? From disk alone, all problems at once."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from catalogs import beside
from catalogs.files import sizes, source
from catalogs.keys import duplicate_keys
from catalogs.layout import DATASET, MANIFEST, PROPERTIES, sha256_file
from catalogs.manifest import Manifest, partitions, read_manifest
from catalogs.read import is_there
from catalogs.remote import Location, location
from catalogs.rowcheck import RowChecks, holding
from catalogs.side import differences, side_of
from catalogs.sums import Sums
from engine.errors import InputError, VerifyError
from engine.spec import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What was found on disk, all of it as it should be."""

    path: Location
    rows: int
    ok: int
    flagged: int
    no_result: int
    files: int
    bytes: int


@dataclass(slots=True, kw_only=True)
class _Findings:
    folder: Location
    problems: list[str] = field(default_factory=list)

    def add(self, where: str, what: str) -> None:
        """Note one problem of one file."""
        self.problems.append(f"{where}: {what}")


def verify(catalog: Location | str, storage: Storage | None = None) -> VerifyReport:
    """Check files, checksums, schema, counts, positions, order, keys and NULLs of a published catalog.

    So too of the side catalog that was published with it, whose rows must be the same in the same order.
    VerifyError lists every problem found, each with its file and counts. Row groups are streamed. InputError
    for a folder that is no catalog at all. `storage` as `open_catalog`.
    """
    folder = location(catalog, storage)
    findings, manifest, sums = _examine(folder)
    if manifest is not None and (side := side_of(folder, manifest)) is not None:
        _check_side(findings, side)
    return _outcome(findings, manifest, sums)


def verify_one(catalog: Location) -> VerifyReport:
    """As `verify`, of this catalog alone."""
    return _outcome(*_examine(catalog))


def _examine(folder: Location) -> tuple[_Findings, Manifest | None, Sums]:
    if not any(is_there(folder / name) for name in (MANIFEST, PROPERTIES)):
        raise InputError(f"{folder} is no catalog; give root/name/version")
    findings = _Findings(folder=folder)
    manifest = _manifest(folder, findings)
    sums = Sums()
    if manifest is not None:
        _check_properties(folder, manifest, findings)
        _check_files(folder, manifest["files"], findings)
        sums = _check_partitions(folder, manifest, findings)
        _check_totals(manifest, sums, findings)
        _check_keys(folder, manifest, findings)
    return findings, manifest, sums


def _outcome(findings: _Findings, manifest: Manifest | None, sums: Sums) -> VerifyReport:
    if findings.problems:
        listed = "\n".join(f"  {problem}" for problem in findings.problems)
        raise VerifyError(f"{findings.folder}: {len(findings.problems)} problems:\n{listed}")
    assert manifest is not None
    return _report(findings.folder, manifest, sums)


def _check_side(findings: _Findings, side: Location) -> None:
    """The side catalog by itself; then, if both are sound, the two together."""
    try:
        problems = _examine(side)[0].problems
    except InputError:
        problems = ["the side catalog is missing: if it was not moved, `abundant commit` publishes it"]
    if not (findings.problems or problems):
        problems = list(differences(findings.folder, side))
    for problem in problems:
        findings.add(str(side), problem)


def _report(folder: Location, manifest: Manifest, sums: Sums) -> VerifyReport:
    size = sum(file["bytes"] for file in manifest["files"].values())
    return VerifyReport(
        path=folder,
        rows=sums.rows,
        ok=sums.ok,
        flagged=sums.flagged,
        no_result=sums.no_result,
        files=len(manifest["files"]),
        bytes=size,
    )


def _manifest(folder: Location, findings: _Findings) -> Manifest | None:
    try:
        return read_manifest(folder)
    except (OSError, ValueError) as error:
        findings.add(MANIFEST, f"cannot be read: {error}")
        if not (folder / PROPERTIES).exists():
            findings.add(PROPERTIES, "is missing")
        return None


def _check_properties(folder: Location, manifest: Manifest, findings: _Findings) -> None:
    try:
        lines = (folder / PROPERTIES).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        findings.add(PROPERTIES, "is missing: the catalog was not committed")
        return
    except (OSError, ValueError) as error:
        findings.add(PROPERTIES, f"cannot be read: {error}")
        return
    said = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    expected = {
        **{key: value for key, value in beside.sizes(manifest).items() if key in said},
        "hats_nrows": str(manifest["rows"]["total"]),
        "abundant_plan_digest": manifest["plan_digest"],
        "abundant_manifest_sha256": sha256_file(folder / MANIFEST),
    }
    for key, value in expected.items():
        if said.get(key) != value:
            findings.add(PROPERTIES, f"{key} is {said.get(key)}, the manifest says {value}")


def _check_files(folder: Location, listed: Mapping[str, Any], findings: _Findings) -> None:
    """Every listed file is there with its bytes, and no other lies among them."""
    for name, file in listed.items():
        try:
            problem = _problem(folder / name, file)
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}"
        if problem:
            findings.add(name, problem)
    try:
        present = [PurePosixPath(name) for name in sizes(folder)]
    except OSError as error:
        return findings.add(str(folder), f"cannot be listed: {error.strerror or error}")
    for path in present:
        if path.as_posix() not in {MANIFEST, PROPERTIES, *listed} and not _is_hidden(path):
            findings.add(path.as_posix(), "is not in the manifest")
    return None


def _problem(path: Location, file: Mapping[str, Any]) -> str:
    """In what a file is not what the manifest says; "" in nothing."""
    if not path.is_file():
        return "is missing"
    if (size := path.stat().st_size) != file["bytes"]:
        return f"has {size} bytes, the manifest says {file['bytes']}"
    if (found := sha256_file(path)) != file["sha256"]:
        return f"sha256 is {found[:12]}, the manifest says {file['sha256'][:12]}"
    return ""


def _is_hidden(path: PurePosixPath) -> bool:
    """What systems leave in folders (.DS_Store) does no harm; a hidden partition does, a glob reads it."""
    return path.suffix != ".parquet" and any(part.startswith(".") for part in path.parts)


def _check_partitions(folder: Location, manifest: Manifest, findings: _Findings) -> Sums:
    total, rows, sky = Sums(), dict[str, int](), Counter[int]()
    checks = RowChecks.of(manifest)
    for name, said in partitions(manifest).items():
        if not (folder / name).is_file():
            continue
        try:
            found = checks.run(folder / name, name)
        except (OSError, ValueError, pa.ArrowException) as error:
            findings.add(name, f"cannot be read: {str(error).splitlines()[0]}")
            continue
        for problem in found.problems:
            findings.add(name, problem)
        if found.sums.rows != said:
            findings.add(name, f"has {found.sums.rows} rows, the manifest says {said}")
        total = total + found.sums
        rows[name] = found.sums.rows
        sky.update(found.sky)
    if rows.keys() == partitions(manifest).keys():
        for name, what in beside.disagreements(folder, manifest, rows, sky):
            findings.add(name, what)
    return total


def _check_totals(manifest: Manifest, sums: Sums, findings: _Findings) -> None:
    said = manifest["rows"]
    for kind, rows in sums.outcomes.items():
        if said[kind] != rows:
            findings.add(MANIFEST, f"says {said[kind]} rows {kind}, on disk are {rows}")
    if said["total"] != said["ok"] + said["flagged"] + said["no_result"]:
        findings.add(MANIFEST, f"rows do not add up: {said}")
    if manifest["flag_counts"] != sums.flag_counts:
        findings.add(MANIFEST, f"flag counts are {manifest['flag_counts']}, on disk {sums.flag_counts}")


def _check_keys(folder: Location, manifest: Manifest, findings: _Findings) -> None:
    files = [folder / name for name in _readable(folder, manifest)]
    if not files:
        return
    with tempfile.TemporaryDirectory(prefix="abundant-verify-") as spill:
        try:
            found = duplicate_keys(files, manifest["keys"], Path(spill))
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            findings.add(DATASET, f"keys cannot be read: {str(error).splitlines()[0]}")
            return
    if found.keys:
        findings.add(DATASET, f"{found.keys} keys occur more than once:\n{found}")
        wanted = [key for key, _ in found.examples]
        for name in _readable(folder, manifest):
            if held := holding(folder / name, manifest["keys"], wanted):
                findings.add(name, f"holds rows with a key that occurs more than once: {', '.join(held)}")


def _readable(folder: Location, manifest: Manifest) -> Iterator[str]:
    for name in partitions(manifest):
        try:
            pq.read_metadata(source(folder / name))
        except (OSError, pa.ArrowException):
            continue
        yield name
