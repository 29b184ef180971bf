"""The straight line from settings to files, the same for every survey but DESI."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import pyarrow as pa

from engine.simulate.labels import LABELS
from engine.simulate.root import claim
from engine.simulate.surveys.stars import Chunk, Given, chunks, given_of, label_columns
from engine.simulate.truth import truth_writer

OnFile: TypeAlias = Callable[[Path, int], None]

# Raised whenever the same settings give other spectra, so that two kinds never mix under one root.
_VERSION: Final = 1

_COMMON: Final = (
    ("ra", pa.float64()),
    ("dec", pa.float64()),
    ("gaia_source_id", pa.int64()),
    ("g_mag", pa.float32()),
    ("ebv", pa.float32()),
    ("rv", pa.float32()),
    ("snr", pa.float32()),
    *((name, pa.float32()) for name in LABELS),
    ("a_li", pa.float32()),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one survey writes a chunk of stars.

    `write(folder, chunk, on_file)` writes the files and gives the truth columns, a value for each star: the
    survey's own `keys`, `snr`, and any other that is not what it is in other surveys.
    """

    name: str
    keys: pa.Schema
    write: Callable[[Path, Chunk, OnFile], Mapping[str, Any]]


def say_nothing(path: Path, stars: int) -> None:
    """The default of `on_file`."""
    del path, stars


def simulate_files(
    recipe: Recipe,
    root: Path,
    *,
    stars: int,
    seed: int,
    labels: pa.Table | None = None,
    on_file: OnFile = say_nothing,
) -> Path:
    """Write a simulated survey under root; return its truth table (root/truth.parquet).

    `labels` gives the labels of the stars in order (teff, logg, fe_h; any other [X/H] is else [Fe/H]; a_li
    is else drawn); without it all are drawn. `on_file` is told of each file and how many stars it brings.
    The same arguments give the same bytes; memory does not grow with `stars`.

    InputError for a root that is a file or holds anything else, for counts that are not positive, and for a
    labels table that is too short, lacks a column or goes beyond what can be simulated.
    """
    given = given_of(labels, stars)
    plan = chunks(stars, seed, given)
    claim(
        root,
        {"survey": recipe.name, "stars": stars, "seed": seed, "labels": _digest(given), "version": _VERSION},
    )
    truth_path = root / "truth.parquet"
    with truth_writer(truth_path, truth_schema(recipe)) as append:
        for chunk in plan:
            append(_truth(recipe, chunk, recipe.write(root, chunk, on_file)))
    return truth_path


def truth_schema(recipe: Recipe) -> pa.Schema:
    """The columns of a truth table: the survey's keys, what is common to all surveys, the labels."""
    own = set(recipe.keys.names)
    return pa.schema([*recipe.keys, *(pa.field(*column) for column in _COMMON if column[0] not in own)])


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which becomes it once the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    yield temporary
    temporary.replace(path)


def _truth(recipe: Recipe, chunk: Chunk, found: Mapping[str, Any]) -> pa.Table:
    """The truth rows of a chunk."""
    targets, schema = chunk.targets, truth_schema(recipe)
    columns = {
        "ra": targets.ra_N,
        "dec": targets.dec_N,
        "gaia_source_id": targets.source_id_N,
        "g_mag": targets.g_mag_N,
        "ebv": targets.ebv_N,
        "rv": targets.velocity_N,
        **label_columns(chunk),
        **found,
    }
    masks = {"gaia_source_id": ~chunk.in_gaia_N}
    arrays = [
        pa.array(columns[name], mask=masks.get(name), from_pandas=True).cast(schema.field(name).type)
        for name in schema.names
    ]
    return pa.table(arrays, schema=schema)


def _digest(given: Given | None) -> str | None:
    """What tells one table of labels from another; None when all are drawn."""
    if given is None:
        return None
    lithium = b"" if given.a_li_N is None else given.a_li_N.tobytes()
    return hashlib.sha256(given.labels_NL.tobytes() + lithium).hexdigest()
