"""The published version that a new one follows: found, and looked at before anything is done with it.

What is taken from it is in keep.py. Nothing is ever written there.
"""

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn

import pyarrow.parquet as pq

from catalogs.files import sizes, source
from catalogs.layout import DATASET, MANIFEST, PROPERTIES, Layout, Product
from catalogs.manifest import Manifest, partitions, read_manifest
from catalogs.pixels import SKY_ORDER, Pixel
from catalogs.remote import Location
from catalogs.shuffle import Partition
from catalogs.side import catalogs_of
from engine.errors import PlanError

PIXEL = re.compile(r"Norder=(\d+)/.*Npix=(\d+)\.parquet$")
LENGTH = "table::len::"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One of the catalogs of a published version; `seal` is the sha256 of its manifest."""

    folder: Location
    manifest: Manifest
    seal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """One partition of the version that is followed: in the main catalog, then in the side catalog if any."""

    pixel: Pixel
    files: tuple[Location, ...]
    said: tuple[Partition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """The version that another follows: its catalogs, main then side, and the ids of tasks that are kept."""

    version: str
    catalogs: tuple[Published, ...]
    kept: frozenset[str] = frozenset()

    @property
    def main(self) -> Published:
        """The main catalog."""
        return self.catalogs[0]

    @property
    def partitions(self) -> tuple[Old, ...]:
        """Its partitions, in the order of the sky."""
        found = [self._old(path) for path in partitions(self.main.manifest)]
        return tuple(sorted(found, key=lambda old: old.pixel.start))

    def only(self, paths: Collection[str]) -> tuple[Old, ...]:
        """The partitions of these paths."""
        wanted = frozenset(paths)
        return tuple(old for old in self.partitions if old.pixel.path in wanted)

    def digest(self) -> str:
        """What is taken over, and from which files."""
        said = "\n".join([*(one.seal for one in self.catalogs), *sorted(self.kept)])
        return hashlib.sha256(said.encode()).hexdigest()

    def widths(self) -> dict[str, int]:
        """The length of the longest text of each column that has texts. OSError."""
        said = pq.read_schema(source(self.main.folder / DATASET / "_common_metadata")).metadata or {}
        texts = {key.decode(): value for key, value in said.items() if key.decode().startswith(LENGTH)}
        return {key.removeprefix(LENGTH): int(value) for key, value in texts.items()}

    def _old(self, path: str) -> Old:
        return Old(
            pixel=_pixel(path),
            files=tuple(one.folder / path for one in self.catalogs),
            said=tuple(_partition(one.manifest, path) for one in self.catalogs),
        )


def open_followed(layout: Layout, version: str, product: Product) -> Followed:
    """The published version that a catalog follows; no task of it is kept yet.

    PlanError where it is not there, is damaged as far as its manifest and the sizes of its files tell, or has
    other columns. Every byte is looked at when it is taken over.
    """
    wanted = catalogs_of(replace(layout, version=version), product)
    found = tuple(_published(part.layout.catalog, version) for part in wanted)
    for part, one in zip(wanted, found, strict=True):
        _refuse_other_columns(one, part.product)
        if list(partitions(one.manifest)) != list(partitions(found[0].manifest)):
            _refuse(one.folder, f"its partitions are not those of {found[0].folder}")
        if one.manifest["plan_digest"] != found[0].manifest["plan_digest"]:
            _refuse(one.folder, f"it is of another plan than {found[0].folder}")
    return Followed(version=version, catalogs=found)


def _published(folder: Location, version: str) -> Published:
    refuse = partial(_refuse, folder)
    try:
        if not (folder / PROPERTIES).is_file():
            raise PlanError(
                f'[catalog] follows = "{version}", but {folder} is no published catalog: publish it first, '
                "name a version that is, or leave follows out to label everything"
            )
        seal = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
        manifest = read_manifest(folder)
        if f"abundant_manifest_sha256={seal}" not in (folder / PROPERTIES).read_text("utf-8").splitlines():
            refuse(f"{MANIFEST} is not the one that {PROPERTIES} names")
        there = sizes(folder)
    except (OSError, ValueError) as error:
        refuse(f"{MANIFEST}: {error}")
    for path in partitions(manifest):
        if there.get(path) != manifest["files"][path]["bytes"]:
            refuse(f"{path} is missing or has another size than its manifest says")
        if _pixel(path).path != path or _pixel(path).order > SKY_ORDER:
            refuse(f"{path} is no partition as this program makes them")
    return Published(folder=folder, manifest=manifest, seal=seal)


def _refuse(folder: Location, what: str) -> NoReturn:
    raise PlanError(
        f"{folder} cannot be followed: {what}; `abundant verify {folder}` says more. Mend it from a copy, or "
        "leave [catalog] follows out to label everything"
    )


def _refuse_other_columns(one: Published, product: Product) -> None:
    has = [(column["name"], column["type"]) for column in one.manifest["columns"]]
    needs = [(column.name, str(column.type)) for column in product.columns]
    if has != needs:
        odd = ", ".join(sorted({f"{name} {kind}" for name, kind in {*has} ^ {*needs}})) or "their order"
        _refuse(one.folder, f"its columns are not those of this run: {odd}")
    if one.manifest["keys"] != list(product.keys):
        _refuse(one.folder, f"its keys are {'/'.join(one.manifest['keys'])}, not {'/'.join(product.keys)}")


def _pixel(path: str) -> Pixel:
    found = PIXEL.search(path)
    return Pixel(int(found[1]), int(found[2])) if found else Pixel(SKY_ORDER + 1, 0)


def _partition(manifest: Manifest, path: str) -> Partition:
    said = manifest["files"][path]
    return Partition(path=path, rows=said.get("rows", 0), bytes=said["bytes"], sha256=said["sha256"])
