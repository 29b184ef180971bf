"""By which ids two sides are joined."""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from catalogs.compare.names import find, listed, pairs_of
from catalogs.read import Catalog, damaged
from catalogs.sql import name
from engine.errors import InputError


def joined_by(first: Catalog, columns: Sequence[str], second: str, on: Sequence[str]) -> dict[str, str]:
    """Our columns -> theirs: those of `on`, else the catalog's full key. InputError without a common id.

    Of the full key, parts that are NULL in every row name nothing and are left out.
    """
    if on:
        return {_ours(first, a): _theirs(b, columns, second) for a, b in pairs_of("--on", on).items()}
    full = _used(first)
    found = {key: find(key, columns) for key in full}
    theirs = {key: there for key, there in found.items() if there is not None}
    if len(theirs) == len(full):
        return theirs
    have = [one for one in (*theirs, *_ids(first)) if find(one, columns)]
    hint = f"join by what both have: --on {have[0]}" if have else "name an id of both: --on OURS=THEIRS"
    missing = ", ".join(key for key in full if key not in theirs)
    raise InputError(
        f"no common id: {second} lacks {missing} of the key {'/'.join(full)}; {hint}. "
        f"Its columns are {listed(columns)}"
    )


def star_of(catalog: Catalog, on: Sequence[str]) -> tuple[str, ...]:
    """The columns that name a star in one catalog: those of `on`, else the survey's main id."""
    if on:
        return tuple(_ours(catalog, one) for one in pairs_of("--on", on))
    keys = catalog.manifest["keys"]
    about = {key: (catalog.schema.field(key).metadata or {}).get(b"ucd", b"") for key in keys}
    return (next((key for key in keys if b"meta.main" in about[key]), keys[-1]),)


def kinds(catalog: Catalog, columns: Sequence[str]) -> dict[str, pa.DataType]:
    """How ids are compared: as integers or as text. InputError for what is neither."""
    found: dict[str, pa.DataType] = {}
    for column in columns:
        kind = catalog.schema.field(column).type
        if not (pa.types.is_integer(kind) or pa.types.is_string(kind)):
            raise InputError(f"--on {column}: it is {kind} in {catalog.path}; ids are integers or text")
        found[column] = kind
    return found


def _ours(first: Catalog, wanted: str) -> str:
    if (found := find(wanted, first.schema.names)) is None:
        raise InputError(f"--on: {first.path} has no column {wanted}; its ids are {', '.join(_ids(first))}")
    return found


def _theirs(wanted: str, columns: Sequence[str], second: str) -> str:
    if (found := find(wanted, columns)) is None:
        raise InputError(f"--on: {second} has no column {wanted}; it has {listed(columns)}")
    return found


def _ids(catalog: Catalog) -> list[str]:
    return [*reversed(catalog.manifest["keys"]), *({"gaia_source_id"} & {*catalog.schema.names})]


def _used(catalog: Catalog) -> list[str]:
    """The parts of the key that have a value in any row."""
    keys = catalog.manifest["keys"]
    counts = ", ".join(f"count({name(key)})" for key in keys)
    with catalog.duckdb() as connection:
        try:
            [row] = connection.execute(f"SELECT {counts} FROM catalog").fetchall()
        except duckdb.Error as error:
            said = catalog.broken() or str(error).partition("\n")[0]
            raise damaged(catalog.path, said) from error
    return [key for key, known in zip(keys, row, strict=True) if known] or list(keys)
