"""Where a catalog goes: can it be written there, is the place free, is it published already."""

import json
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from catalogs.layout import MANIFEST, PROPERTIES, Layout
from catalogs.remote import Location, Remote
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

    In an object store also False for what an interrupted commit of this plan has copied there.

    PlanError when the catalog's folder holds another plan's catalog, or anything else.
    """
    folder = layout.catalog
    if _is_free(folder):
        return False
    digest, complete = _digest(folder)
    if digest == layout.plan_digest and (complete or isinstance(folder, Remote)):
        return complete
    if digest is not None and isinstance(folder, Remote) and not complete:
        raise PlanError(
            f"{folder} holds half of the catalog of another plan, {digest[:12]}, whose commit was "
            "interrupted: run that again, or delete what is there, or choose a new [catalog] version"
        )
    if digest is None or not complete:
        raise PlanError(
            f"{folder} is in the way: it is not empty and not a catalog that was published here; "
            "choose another [catalog] name, version or root, or move it away"
        )
    raise PlanError(
        f"{folder} already holds the catalog of another plan: published {digest[:12]}, asked for "
        f"{layout.plan_digest[:12]}; choose a new [catalog] version, or delete that folder"
    )


def _is_free(folder: Location) -> bool:
    try:
        if isinstance(folder, Remote):
            return not folder.exists()
        return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Location, error: OSError) -> PlanError:
    return PlanError(
        f"{folder} cannot be read: {error.strerror or error}; choose another [catalog] root, or mend it"
    )


def _digest(folder: Location) -> tuple[str | None, bool]:
    """The plan of what lies there, None for what is no catalog; and whether all of it does."""
    try:
        digest = json.loads((folder / MANIFEST).read_bytes())["plan_digest"]
        complete = (folder / PROPERTIES).exists()
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None, False
    except OSError as error:
        if isinstance(folder, Remote):
            raise _unreadable(folder, error) from error
        return None, False
    return (digest if isinstance(digest, str) else None), complete


def _refuse_nested(layout: Layout) -> None:
    """Whatever is written inside a published catalog damages it."""
    for folder in _enclosing(layout.catalog.parent):
        if is_sealed(folder):
            raise PlanError(
                f"{layout.catalog} would lie inside {folder}, which is a published catalog; "
                "choose a [catalog] root outside of it"
            )


def is_sealed(folder: Location) -> bool:
    """Is there a published catalog? PlanError where nobody can tell."""
    try:
        return (folder / PROPERTIES).is_file()
    except OSError as error:
        raise _unreadable(folder, error) from error


def _enclosing(inner: Location) -> Sequence[Location]:
    inner = inner if isinstance(inner, Remote) else inner.resolve()
    return (inner, *inner.parents)


def _refuse_unwritable(root: Location, folder: Location) -> None:
    if isinstance(folder, Remote):
        _refuse_read_only(folder)
    else:
        _refuse_full(root, folder)


def _refuse_read_only(folder: Remote) -> None:
    """Write an object, and remove it."""
    probe = folder / f".abundant-{uuid.uuid4().hex}"
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise PlanError(
            f"catalog.root: nothing can be written as {probe}: {error.strerror or error}; "
            "choose another [catalog] root, or let the credentials in the environment write there"
        ) from error


def _refuse_full(root: Location, folder: Path) -> None:
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
