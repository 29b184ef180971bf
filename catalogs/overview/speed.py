"""How long a run took, as its manifest has it."""

from collections.abc import Mapping
from typing import Any

from catalogs.overview.records import Speed
from catalogs.read import Catalog


def speed(catalog: Catalog) -> Speed | None:
    """Seconds by stage of a task and by step of the commit; None where the manifest does not have them."""
    said = _mapping(catalog.manifest, "seconds")
    tasks = _numbers(_mapping(said, "tasks"))
    if not tasks:
        return None
    run, kept = _mapping(catalog.manifest, "run"), _numbers(_mapping(catalog.manifest, "follows"))
    count = _numbers(catalog.manifest)
    machines = run.get("machines")
    return Speed(
        tasks=int(count.get("tasks", 0) - kept.get("tasks", 0)),
        rows=int(catalog.rows - kept.get("rows", 0)),
        seconds=tasks,
        commit=_numbers(_mapping(said, "commit")),
        labelling=_numbers(run).get("seconds"),
        workers=int(_numbers(run).get("workers", 0)),
        gpus=_numbers(run).get("gpus", 0.0),
        machines=tuple(map(str, machines)) if isinstance(machines, list) else (),
    )


def _mapping(of: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = of.get(key)
    return found if isinstance(found, dict) else {}


def _numbers(of: Mapping[str, Any]) -> dict[str, float]:
    return {str(key): float(value) for key, value in of.items() if isinstance(value, int | float)}
