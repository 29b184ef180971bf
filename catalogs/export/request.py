"""What is asked of an export: which catalog, which rows and columns, and what only people know of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from engine.spec import Frozen

SAMPLE_ROWS = 1000

Step: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Columns by name, all if none is named; rows where a condition in SQL holds, all without one."""

    columns: tuple[str, ...] = ()
    where: str | None = None


class Creator(Frozen):
    """Who made the catalog."""

    name: str
    """As Zenodo and the CDS want it: family name, comma, given names."""
    affiliation: str | None = None
    orcid: Annotated[str, Field(pattern=r"^\d{4}-\d{4}-\d{4}-\d{3}[\dX]$")] | None = None


class Related(Frozen):
    """Another work, by its DOI or address."""

    identifier: str
    relation: Literal["isDerivedFrom", "isSupplementTo", "isDescribedBy", "cites", "references", "isPartOf"]
    """What the catalog is to it, in DataCite's words."""


class About(Frozen):
    """What no manifest knows: an --about file in TOML. What it leaves out the manifest says, or nobody."""

    title: str | None = None
    description: str | None = None
    licence: str | None = None
    """Of the catalog, as an SPDX identifier such as CC-BY-4.0; without it that of the bundle."""
    keywords: tuple[str, ...] = ()
    creators: tuple[Creator, ...] = ()
    related: tuple[Related, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An export: from a catalog's address to a file or folder that is not there yet."""

    catalog: Path | str
    out: Path
    selection: Selection = field(default_factory=Selection)
    about: About = field(default_factory=About)
    sample: int = SAMPLE_ROWS
    """Rows of the CDS sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote."""

    out: Path
    rows: int
    columns: int
    bytes: int
    remarks: tuple[str, ...] = ()
    """What a person should know or mend, a sentence each."""
