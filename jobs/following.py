"""Which tasks of a plan are kept from the version that its catalog follows."""

from dataclasses import replace

from catalogs.follow import Followed, open_followed
from catalogs.layout import Layout, Product
from catalogs.manifest import Manifest
from catalogs.place import all_published
from engine.errors import PlanError
from engine.plan import Plan, unlike
from engine.surveys import survey_of


def product_of(plan: Plan) -> Product:
    """What a plan's catalogs hold."""
    keys = survey_of(plan.spec.survey).keys
    return Product(keys=tuple(key.name for key in keys), columns=plan.columns, side=plan.side)


def following(plan: Plan, layout: Layout) -> Followed | None:
    """The version that is followed, with the tasks that are kept; None without one, or when all is done.

    PlanError where that version is not there, is damaged, or has other labels than this plan would make.
    """
    version = plan.spec.catalog.follows
    if version is None or all_published(layout):
        return None
    found = open_followed(layout, version, product_of(plan))
    folder, manifest = found.main.folder, found.main.manifest
    try:
        unlikely = unlike(manifest.get("plan", {}), plan.record())
    except PlanError as error:
        raise PlanError(f"{folder} cannot be followed: {error}; {REMEDY}") from error
    if unlikely:
        listed = "\n".join(f"  {line}" for line in unlikely)
        raise PlanError(
            f"{folder} cannot be followed, for none of its labels could be kept:\n{listed}\n{REMEDY}"
        )
    return replace(found, kept=_kept(plan, manifest))


REMEDY = "leave [catalog] follows out to label everything, or run as that version was run"


def _kept(plan: Plan, manifest: Manifest) -> frozenset[str]:
    """The tasks that the older version did, and that did not fail there.

    A shard is cut alike by equal specs, so whoever had the shard had its tasks, those without a row too.
    """
    shards, failed = manifest.get("shards", {}), {one["task_id"] for one in manifest.get("failures", [])}
    known = (task.task_id for task in plan.tasks if task.shard.shard_id in shards)
    return frozenset(task_id for task_id in known if task_id not in failed)
