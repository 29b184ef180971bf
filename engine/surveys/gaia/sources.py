"""What the files of all Gaia surveys have in common: their names, and ids of sources."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from engine.errors import ShardCorrupt
from engine.types import Column

# XP_SAMPLED-Gaia DR3 5937083312263887616.csv: DataLink's name for a file of one source.
NAMED = re.compile(r"gaia[ _-]?e?dr\d[ _-]*(\d{1,19})(?!\d)", re.IGNORECASE)
MISSING = 1

SOURCE_ID = Column(
    name="source_id", type=pa.int64(), ucd="meta.id;meta.main", description="Gaia DR3 source_id"
)


def tables_without(*others: str) -> re.Pattern[str]:
    """Names of tables in any serialisation, but for those that name one of the other products."""
    refused = "".join(rf"(?!.*{other})" for other in others)
    return re.compile(refused + r".*\.(csv|ecsv|fits|fit|xml|vot|votable)(\.gz)?", re.IGNORECASE)


def usual_names(bulk: str, one: str) -> tuple[str, ...]:
    """How files of a product are called, for people: in bulk, and from DataLink in each serialisation."""
    return (f"{bulk}_*.csv.gz", *(f"{one}*.{form}" for form in ("csv", "ecsv", "fits", "xml", "vot")))


def named_source(name: str) -> int | None:
    """The one source that a file is named after; None for files of any number of sources."""
    found = NAMED.search(name.rpartition("/")[2])
    return int(found[1]) if found and int(found[1]) < 2**63 else None


def from_name(name: str) -> Mapping[str, Any]:
    """The ids that a file's name alone gives."""
    source = named_source(name)
    return {} if source is None else {"source_id": source, "gaia_source_id": source}


def refuse_others(name: str, sources_N: np.ndarray, all_sources: int) -> None:
    """ShardCorrupt for a file that is named after one source and holds another one, or more."""
    source = named_source(name)
    if source is not None and (all_sources != 1 or sources_N.tolist() != [source]):
        raise ShardCorrupt(
            f"{all_sources} sources, the first of them {sources_N[0]}, expected the one that the file is "
            f"named after, {source}"
        )


def pixels_of(
    arm: str, flux_NP: np.ndarray, error_NP: np.ndarray, scale: float = 1.0
) -> dict[str, np.ndarray]:
    """The columns of an arm, in units of `scale`; without flux or an error above 0: mask 1 and ivar 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        flux_NP, ivar_NP = flux_NP / scale, (scale / error_NP) ** 2
    good_NP = np.isfinite(flux_NP) & (error_NP > 0) & (ivar_NP < np.finfo(np.float32).max)
    return {
        f"flux_{arm}": flux_NP,
        f"ivar_{arm}": np.where(good_NP, ivar_NP, 0),
        f"mask_{arm}": np.where(good_NP, 0, MISSING),
    }
