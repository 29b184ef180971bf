"""The steps of a commit that have to do with the version that is followed; there are none without one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from catalogs.files import each
from catalogs.follow import Followed
from catalogs.keep import Counted, count, split_old, take
from catalogs.layout import Layout
from catalogs.manifest import Manifest
from catalogs.metadata import NOTHING, Taken
from catalogs.pixels import PixelPlan, Tally
from catalogs.recut import recut
from catalogs.remote import Location
from catalogs.shuffle import Partition, Split
from catalogs.side import Part
from catalogs.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Takeover:
    """What the commit of a layout takes from the version that it follows."""

    layout: Layout
    followed: Followed
    work: Work

    def stays(self, keys: Sequence[str]) -> tuple[Counted, ...]:
        """What stays of every partition, in the order of the sky. CommitError where one is damaged."""
        step = partial(count, kept=self.followed.kept, keys=keys, folder=self.layout.scratch / "stay")
        found = self.work.each("look back", step, self.followed.partitions)
        return tuple(sorted(found, key=lambda one: one.pixel.start))

    def recut(self, digest: str, staged: Tally, stays: Sequence[Counted], target_bytes: int) -> PixelPlan:
        """The cut of what was staged and what stays; `digest` names both. OSError."""
        return recut(digest, staged, stays, self.followed.widths(), target_bytes)

    def splits(self, plan: PixelPlan, folder: Location, schema: pa.Schema) -> Iterator[Split]:
        """The rows that stay where others leave or come, by pixel; CommitError where any were damaged."""
        step = partial(split_old, pixels=plan.pixels, kept=self.followed.kept, folder=folder, schema=schema)
        return self.work.each("split", step, self.followed.only(plan.stay.parts if plan.stay else ()))

    def over(self, part: Part, plan: PixelPlan) -> Iterator[Partition]:
        """The partitions of a catalog that stay whole, as they come into its folder."""
        number, folder = self._number(part.layout), part.layout.partial
        whole = self.followed.only(plan.whole)
        taken = each(lambda old: take(old.files[number], old.said[number], folder), folder, whole)
        return self.work.told("take over", taken, len(whole))

    def said(self, part: Part, plan: PixelPlan) -> Taken:
        """What the manifest says of it."""
        if plan.stay is None:
            return NOTHING
        older, tasks = self.followed.catalogs[self._number(part.layout)], len(self.followed.kept)
        about = {
            "version": self.followed.version,
            "plan_digest": older.manifest["plan_digest"],
            "manifest_sha256": older.seal,
            "tasks": tasks,
            "rows": plan.stay.sums.rows,
            "partitions": len(plan.stay.whole),
            **_made_with(older.manifest),
        }
        return Taken(sums=plan.stay.sums, tasks=tasks, said=about)

    def _number(self, layout: Layout) -> int:
        return self.layout.parts.index(layout)


def _made_with(manifest: Manifest) -> dict[str, Any]:
    """The programs that made the labels that are kept; of those that were kept before, in `follows` again."""
    plan = manifest.get("plan", {})
    said = {key: plan[key] for key in ("versions", "python", "machine") if key in plan}
    return said | ({"follows": manifest["follows"]} if "follows" in manifest else {})
