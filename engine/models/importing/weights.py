"""What a reader of published weights hands over, and what all readers check alike."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import BundleError
from engine.spec import Frozen
from engine.types import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights of one network or of an ensemble, under the names of our own modules.

    `scalers` are those that the file itself holds, by their names in a bundle. `format` says what was read.
    """

    format: str
    hyper: Frozen
    members: tuple[Mapping[str, Floats], ...]
    scalers: Mapping[str, Floats] = field(default_factory=dict)


def check_shape(where: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """BundleError unless an array of a file has the shape that our network needs."""
    if tuple(found) != tuple(expected):
        raise BundleError(
            f"{where} has shape {tuple(found)}, expected {tuple(expected)}: it is another network; "
            "choose another --model"
        )


def as_floats(where: str, array: np.ndarray) -> Floats:
    """The array in float32; BundleError unless all of it is finite there."""
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, np.float32)
    if bad := int(floats.size - np.count_nonzero(np.isfinite(floats))):
        raise BundleError(f"{where} has {bad} of {floats.size} values that are not finite: get the file anew")
    return floats


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def lineage_of(paths: tuple[Path, ...]) -> list[dict[str, Any]]:
    """Names and sha256 of files, for a card; BundleError where one cannot be read."""
    try:
        return [{"name": path.name, "sha256": sha256_of(path)} for path in paths]
    except OSError as error:
        raise BundleError(f"{error.filename}: cannot be read: {error.strerror}") from error
