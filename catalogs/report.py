"""What a commit published, as its manifest says it."""

from dataclasses import dataclass

from catalogs.files import sizes
from catalogs.layout import MANIFEST, Layout
from catalogs.manifest import read_manifest
from catalogs.read import damaged
from catalogs.remote import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitReport:
    """What is published. `already` is True when an earlier commit of the same plan had done it.

    `side` is the side catalog that was published with it. `staging` is not part of it and nobody needs it
    any more; it takes `staging_bytes`.
    """

    path: Location
    rows: int
    ok: int
    flagged: int
    no_result: int
    failed_tasks: int
    partitions: int
    bytes: int
    already: bool
    staging: Location
    staging_bytes: int
    side: Location | None = None


def report(layout: Layout, *, already: bool) -> CommitReport:
    """The report on a published catalog; VerifyError when its manifest cannot be believed."""
    try:
        manifest = read_manifest(layout.catalog)
    except (OSError, ValueError) as error:
        raise damaged(layout.catalog, f"{MANIFEST}: {error}") from error
    partitions = [file for file in manifest["files"].values() if "rows" in file]
    rows = manifest["rows"]
    return CommitReport(
        path=layout.catalog,
        rows=rows["total"],
        ok=rows["ok"],
        flagged=rows["flagged"],
        no_result=rows["no_result"],
        failed_tasks=len(manifest.get("failures", [])),
        partitions=len(partitions),
        bytes=sum(file["bytes"] for file in partitions),
        already=already,
        staging=layout.staging,
        staging_bytes=_bytes(layout.staging),
        side=next((part.catalog for part in layout.parts[1:]), None),
    )


def _bytes(folder: Location) -> int:
    """All that lies there; 0 where nobody can tell."""
    try:
        return sum(sizes(folder).values())
    except OSError:
        return 0
