"""Where a catalog goes: can it be written there, is the place free, is it published already."""

import json
import tempfile
from pathlib import Path

from catalogs.layout import MANIFEST, PROPERTIES, Layout
from engine.errors import PlanError


def check_place(layout: Layout) -> None:
    """PlanError when this run could not be staged and published there; leaves no trace.

    A place whose catalog is published already is as good as any: nothing will be written.
    """
    for part in layout.parts:
        _refuse_nested(part)
        if is_published(part):
            continue
        for folder in (part.staging.parent, part.catalog.parent):
            _refuse_unwritable(part.root, folder)


def all_published(layout: Layout) -> bool:
    """Are all of the run's catalogs published? PlanError as `is_published`."""
    published = [is_published(part) for part in layout.parts]
    return all(published)


def is_published(layout: Layout) -> bool:
    """Is this plan's catalog published, whatever is beside it? False where there is none.

    PlanError when the catalog's folder holds another plan's catalog, or anything else.
    """
    folder = layout.catalog
    if _is_free(folder):
        return False
    digest = _published_digest(folder)
    if digest == layout.plan_digest:
        return True
    if digest is None:
        raise PlanError(
            f"{folder} is in the way: it is not empty and not a catalog that was published here; "
            "choose another [catalog] name, version or root, or move it away"
        )
    raise PlanError(
        f"{folder} already holds the catalog of another plan: published {digest[:12]}, asked for "
        f"{layout.plan_digest[:12]}; choose a new [catalog] version, or delete that folder"
    )


def _is_free(folder: Path) -> bool:
    try:
        return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    except OSError as error:
        raise PlanError(
            f"{folder} cannot be read: {error.strerror or error}; choose another [catalog] root, or mend it"
        ) from error


def _published_digest(folder: Path) -> str | None:
    try:
        digest = json.loads((folder / MANIFEST).read_bytes())["plan_digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return digest if isinstance(digest, str) and (folder / PROPERTIES).exists() else None


def _refuse_nested(layout: Layout) -> None:
    """Whatever is written inside a published catalog damages it."""
    inner = layout.catalog.parent.resolve()
    for folder in (inner, *inner.parents):
        if (folder / PROPERTIES).is_file():
            raise PlanError(
                f"{layout.catalog} would lie inside {folder}, which is a published catalog; "
                "choose a [catalog] root outside of it"
            )


def _refuse_unwritable(root: Path, folder: Path) -> None:
    """Make a folder in the nearest place that exists, and remove it: nothing else tells the truth."""
    nearest = next(one for one in (folder, *folder.parents) if one.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".abundant-", dir=nearest):
            return
    except OSError as error:
        raise PlanError(
            f"catalog.root = {root}: nothing can be written in {nearest}: {error.strerror or error}; "
            "choose another [catalog] root, or mend the folder"
        ) from error
