"""What manifest.json says, and read_manifest(): the one place that decides whether it can be believed.

Keys that only the caller of a commit knows may be absent: catalogs outlive programs.
"""

from contextlib import suppress
from pathlib import PurePosixPath
from typing import Annotated, Any, NotRequired, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from catalogs.layout import MANIFEST
from catalogs.remote import Location
from catalogs.sums import COUNTED
from engine.errors import InputError

# Counts up when an older program would misread a manifest. One without a number is of format 1.
FORMAT = 1
NEEDED = ("_healpix_29", "ra", "dec", *COUNTED, "shard_id", "row_in_shard", "task_id")
OPEN = ConfigDict(extra="allow", strict=True)


def _inside(name: str) -> str:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\0" in name:
        raise ValueError("is no path inside the catalog")
    return name


@with_config(OPEN)
class File(TypedDict):
    """One published file; partitions have rows."""

    bytes: int
    sha256: str
    rows: NotRequired[int]


@with_config(OPEN)
class ColumnEntry(TypedDict):
    """One column of every partition; its type as Arrow writes it."""

    name: str
    type: str


@with_config(OPEN)
class Outcomes(TypedDict):
    """Rows: ok, flagged and no_result are disjoint and together all."""

    total: int
    ok: int
    flagged: int
    no_result: int


@with_config(OPEN)
class Published(TypedDict):
    """What the catalog is called."""

    name: str
    version: str


@with_config(OPEN)
class Beside(TypedDict):
    """Another catalog of the same run, under the same root."""

    name: Annotated[str, AfterValidator(_inside)]
    version: Annotated[str, AfterValidator(_inside)]


@with_config(OPEN)
class Follows(TypedDict):
    """The version that rows were taken from: what it was, and how many tasks, rows and whole partitions."""

    version: str
    plan_digest: str
    manifest_sha256: str
    tasks: int
    rows: int
    partitions: int


@with_config(OPEN)
class Failure(TypedDict):
    """A task that failed, and why."""

    task_id: str
    reason: str


@with_config(OPEN)
class FlagEntry(TypedDict):
    """A bit of `flags` in words."""

    name: str
    severity: str
    text: str


Part: TypeAlias = tuple[str, Annotated[int, Field(ge=0)]]
"""A file of a shard that groups several, and how many of its rows follow those of the file before."""


@with_config(OPEN)
class Manifest(TypedDict):
    """manifest.json; catalogs/README.md says what the keys mean."""

    format: NotRequired[int]
    catalog: Published
    plan_digest: str
    keys: Annotated[list[str], Field(min_length=1)]
    columns: list[ColumnEntry]
    rows: Outcomes
    flag_counts: dict[str, int]
    files: dict[Annotated[str, AfterValidator(_inside)], File]
    failures: NotRequired[list[Failure]]
    flags: NotRequired[list[FlagEntry]]
    shards: NotRequired[dict[str, str | list[Part]]]
    plan: NotRequired[dict[str, Any]]
    side: NotRequired[Beside]
    main: NotRequired[Beside]
    follows: NotRequired[Follows]


class Age(TypedDict):
    """What tells whether the rest can be understood."""

    format: NotRequired[int]


READER = TypeAdapter(Manifest)
AGE = TypeAdapter(Age)


def read_manifest(folder: Location) -> Manifest:
    """A catalog's manifest; ValueError with one line that says what is wrong with it, or OSError.

    InputError for one that a newer program wrote in a way that this one does not know.
    """
    content = (folder / MANIFEST).read_bytes()
    _refuse_newer(folder, content)
    try:
        manifest = READER.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None
    names = [column["name"] for column in manifest["columns"]]
    if missing := {*manifest["keys"], *NEEDED} - set(names):
        raise ValueError(f"columns: lacks {', '.join(sorted(missing))}")
    if not partitions(manifest):
        raise ValueError("files: no partition is listed")
    return manifest


def _refuse_newer(folder: Location, content: bytes) -> None:
    with suppress(ValidationError):
        if (found := AGE.validate_json(content).get("format", 1)) > FORMAT:
            raise InputError(
                f"{folder} was made by a newer version of Abundant: its manifest has format {found}, this "
                f"program reads up to {FORMAT}; upgrade with `pip install --upgrade abundant`"
            )


def partitions(manifest: Manifest) -> dict[str, int]:
    """The rows of every partition, by its path inside the catalog."""
    return {name: file["rows"] for name, file in manifest["files"].items() if "rows" in file}


def origin(manifest: Manifest, shard_id: str, row: int) -> tuple[str, int]:
    """The input file that a row of a shard came from, and the row in that file; both count from 0.

    What the manifest does not know stays what it was: the shard's id, the row in the shard.
    """
    shard = manifest.get("shards", {}).get(shard_id, shard_id)
    if isinstance(shard, str):
        return shard, row
    first = 0
    for file, rows in shard:
        if first <= row < first + rows:
            return file, row - first
        first += rows
    return shard_id, row
