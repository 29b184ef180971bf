"""How a run stands, from its staging area alone: from anywhere, also when its cluster is gone."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalogs.holder import Holder, is_dead, now, this_process
from catalogs.layout import PLAN, Layout
from catalogs.lease import holder_at
from catalogs.place import all_published
from catalogs.remote import Location, Remote
from catalogs.stage import receipts
from engine.errors import InputError, PlanError, StagingError
from engine.types import Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a run stands. Of its `tasks` (those done anew, where it follows a version) some are done, some
    failed, some left; `hosts` are rows by the host that labelled them.

    `rate` is tasks per second since the present driver's first receipt, None where there is no telling.
    `heard_s` are the seconds since its heartbeat, `alive` is whether it is fresh. `obstacle` says what stands
    where the catalog should be published.
    """

    layout: Layout
    tasks: int
    done: int
    failed: int
    rows: int
    flagged: int
    no_result: int
    reasons: Mapping[str, int]
    hosts: Mapping[str, int]
    rate: float | None
    holder: Holder | None
    heard_s: float
    alive: bool
    published: bool
    obstacle: str

    @property
    def left(self) -> int:
        """Tasks without a receipt."""
        return max(0, self.tasks - self.done - self.failed)

    @property
    def left_s(self) -> float | None:
        """Seconds until the last task is done at this rate; None where nobody works."""
        return self.left / self.rate if self.alive and self.rate else None


def layout_at(staging: Location) -> Layout:
    """The layout of a run by its staging area; InputError where there is none."""
    try:
        record = json.loads((staging / PLAN).read_bytes())
        catalog = record["spec"]["catalog"]
        return Layout(
            root=staging.parent.parent,
            name=catalog["name"],
            version=catalog["version"],
            plan_digest=record["digest"],
            work_digest=staging.name.rpartition("-")[2],
            has_side=bool(catalog.get("side")),
        )
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"{staging} is no staging area of a run: it has no {PLAN}; name root/_staging/NAME-VERSION-HASH, "
            "or the spec"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StagingError(f"{staging / PLAN}: cannot be read: {error}") from error


def standing(layout: Layout) -> Standing:
    """How a run stands. StagingError when its staging cannot be read."""
    found = receipts(layout)
    try:
        tasks = int(json.loads(layout.plan.read_bytes())["anew"])
        holder = holder_at(layout.staging)
        times = _times(layout)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StagingError(f"{layout.staging}: cannot be read: {error}") from error
    published, obstacle = _published(layout)
    at = now()
    failed = [one for one in found if one.status == "failed"]
    return Standing(
        layout=layout,
        tasks=tasks,
        done=len(found) - len(failed),
        failed=len(failed),
        rows=sum(one.rows for one in found),
        flagged=sum(one.flagged for one in found),
        no_result=sum(one.no_result for one in found),
        reasons=Counter(one.reason for one in failed),
        hosts=_hosts(found),
        rate=None if holder is None else _rate([times.get(one.task_id, 0.0) for one in found], holder.start),
        holder=holder,
        heard_s=0.0 if holder is None else max(0.0, at - holder.beat),
        alive=holder is not None and not is_dead(holder, holder.beat, this_process(at), at),
        published=published,
        obstacle=obstacle,
    )


def _published(layout: Layout) -> tuple[bool, str]:
    """Is the catalog published, or what stands in its place."""
    try:
        return all_published(layout), ""
    except PlanError as error:
        return False, str(error)


def _hosts(found: Sequence[Receipt]) -> dict[str, int]:
    rows: Counter[str] = Counter()
    for one in found:
        rows[one.where.partition("/")[0]] += one.rows
    return dict(rows.most_common())


def _times(layout: Layout) -> dict[str, float]:
    """When each task's receipt was written, in s since 1970."""
    folder = layout.receipts
    if isinstance(folder, Remote):
        return {name.removesuffix(".json"): about.st_mtime for name, about in folder.files().items()}
    return {path.stem: path.stat().st_mtime for path in folder.glob("[!.]*.json")}


def _rate(times: Sequence[float], start: float) -> float | None:
    """Tasks per second after the first that was done since `start`."""
    since = sorted(time for time in times if time >= start)
    return (len(since) - 1) / (since[-1] - since[0]) if len(since) > 1 and since[-1] > since[0] else None
