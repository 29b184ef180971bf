"""Giving a finished catalog its place: one rename on a disk, copies inside the server in an object store.

There the manifest comes first: it claims the place for its plan. hats.properties comes last: before it is
there, nobody takes the prefix for a catalog. The same commit goes on with what an interrupted one has copied.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

from catalogs.files import each, remove
from catalogs.layout import MANIFEST, PROPERTIES, Layout, sync
from catalogs.place import is_published
from catalogs.remote import Remote, Stat
from engine.errors import CommitError


def publish(layout: Layout) -> None:
    """Make what was built the catalog. PlanError when another plan's is there, CommitError."""
    partial, catalog = layout.partial, layout.catalog
    sync(partial)
    is_published(layout)
    if isinstance(partial, Remote) and isinstance(catalog, Remote):
        _copy(layout, partial, catalog)
        return
    assert not isinstance(partial, Remote)
    assert not isinstance(catalog, Remote)
    partial.replace(catalog)
    sync(catalog.parent)


def _copy(layout: Layout, partial: Remote, catalog: Remote) -> None:
    """All of what was built; objects that are there already stay."""
    built, manifest = partial.files(), (partial / MANIFEST).read_bytes()
    (catalog / MANIFEST).create(manifest)
    is_published(layout)
    _remove_older(catalog, catalog.files(), built)
    _copy_each(partial, catalog, [name for name in built if name != PROPERTIES], built)
    found = {name: about.st_size for name, about in catalog.files().items()}
    if found != {name: about.st_size for name, about in built.items() if name != PROPERTIES}:
        raise CommitError(
            f"{catalog} does not hold what was copied there: is somebody else writing to it? It was not "
            "published and the staging is kept: run the same command again when nobody does"
        )
    if hashlib.sha256((catalog / MANIFEST).read_bytes()).digest() != hashlib.sha256(manifest).digest():
        raise CommitError(f"{catalog}: another commit publishes there; run the same command again after it")
    (partial / PROPERTIES).copy_to(catalog / PROPERTIES)
    remove(partial)


def _copy_each(partial: Remote, catalog: Remote, names: Sequence[str], built: Mapping[str, Stat]) -> None:
    there = catalog.files()
    left = [name for name in names if there.get(name) != built[name]]
    for _ in each(lambda name: (partial / name).copy_to(catalog / name), partial, left):
        pass


def _remove_older(catalog: Remote, there: Mapping[str, Stat], built: Mapping[str, Stat]) -> None:
    """Remove what an interrupted commit of this plan put there and this one does not; nothing else."""
    if not (odd := sorted({*there} - {*built})):
        return
    ours = json.loads((catalog / MANIFEST).read_bytes())["files"]
    if strangers := [name for name in odd if name not in ours]:
        raise CommitError(
            f"{catalog} holds what is not part of the catalog: {', '.join(strangers[:5])}; it was not "
            "touched and nothing was published: move it away, then run the same command again"
        )
    for name in odd:
        (catalog / name).unlink()
