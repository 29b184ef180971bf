"""How long a run took, as far as it was recorded: in the manifest, else in the receipts of its staging."""

import json
from collections import Counter

from catalogs.layout import Layout
from catalogs.overview.records import Speed
from catalogs.read import Catalog
from catalogs.remote import Location
from catalogs.stage import receipts
from engine.errors import StagingError


def speed(catalog: Catalog) -> Speed | None:
    """Seconds of work by stage; None where neither the manifest nor a staging tells them."""
    return _from_manifest(catalog) or _from_staging(catalog)


def _from_manifest(catalog: Catalog) -> Speed | None:
    said = catalog.manifest.get("seconds")
    if not isinstance(said, dict) or not said:
        return None
    seconds = {str(stage): float(value) for stage, value in said.items() if isinstance(value, int | float)}
    tasks = catalog.manifest.get("tasks", 0)
    return Speed(
        tasks=tasks if isinstance(tasks, int) else 0,
        rows=catalog.rows,
        seconds=seconds,
        source="the manifest",
    )


def _from_staging(catalog: Catalog) -> Speed | None:
    layout = _staging(catalog)
    if layout is None:
        return None
    try:
        found = receipts(layout)
    except StagingError:
        return None
    seconds: Counter[str] = Counter()
    for receipt in found:
        seconds.update(receipt.seconds)
    if not seconds:
        return None
    rows = sum(receipt.rows for receipt in found)
    return Speed(
        tasks=len(found), rows=rows, seconds=dict(seconds), source="the receipts of the run's staging"
    )


def _staging(catalog: Catalog) -> Layout | None:
    """The staging of this very run, where it is still beside the catalog."""
    about, root = catalog.manifest["catalog"], catalog.path.parent.parent
    title = catalog.manifest.get("main", about)["name"]
    try:
        plans = sorted((root / "_staging").glob(f"{title}-{about['version']}-*/plan.json"), key=str)
    except OSError:
        return None
    for plan in plans:
        if _digest(plan) == catalog.manifest["plan_digest"]:
            work = plan.parent.name.rpartition("-")[2]
            digest = catalog.manifest["plan_digest"]
            return Layout(
                root=root, name=title, version=about["version"], plan_digest=digest, work_digest=work
            )
    return None


def _digest(plan: Location) -> str:
    try:
        return str(json.loads(plan.read_bytes()).get("digest", ""))
    except (OSError, ValueError, AttributeError):
        return ""
