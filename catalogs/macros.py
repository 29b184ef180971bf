"""SQL that knows catalogs: cone(), flag_set(), flag_names() and good(), as macros of a DuckDB connection.

DuckDB binds a macro when it is made, and refuses one that names a column. A list of a parameter, whose type
nobody knows yet, puts that off until the macro is used: hence `[x] IS NOT NULL`, which is always true.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches

import duckdb

from catalogs.manifest import Manifest
from catalogs.sql import name, text
from engine.flags import BY_NAME

BITS = 32
# Degrees: rounding takes no star off the edge of a cone, nor a pole from a cone of no radius.
EDGE, DEC_SLACK, RA_SLACK = "1e-12", "1e-9", "1e-5"
# What is asked for by a wrong name is found out when the question is bound, whatever rows there are.
UNQUOTED = 'argument in function "struct_extract" must be a constant'
UNKNOWN = re.compile(r'Could not find key "(flag|label) (.*)" in struct')


def define(connection: duckdb.DuckDBPyConnection, manifest: Manifest, columns: Sequence[str]) -> None:
    """Give a connection the macros of a catalog with these columns; flags are those of its manifest."""
    for statement in _statements(flags_of(manifest), columns):
        connection.execute(statement)


def flags_of(manifest: Manifest) -> dict[str, int]:
    """The values of flags by their names, as the catalog's own manifest has them, else as the program has."""
    known = {flag.name: flag.value for flag in BY_NAME.values()}
    found: dict[str, int] = {}
    for entry in manifest.get("flags", []):
        bit = entry.get("bit")
        if isinstance(bit, int) and 0 <= bit < BITS:
            found[entry["name"]] = 1 << bit
        elif entry["name"] in known:
            found[entry["name"]] = known[entry["name"]]
    return found or known


def labels_of(columns: Collection[str]) -> list[str]:
    """The labels among a catalog's columns: those with an error and a flag of their own."""
    return [column for column in columns if {f"e_{column}", f"flag_{column}"} <= {*columns}]


def mistaken(message: str, manifest: Manifest, columns: Collection[str]) -> str | None:
    """What DuckDB's message says of a wrong name, in our words; None when it is about something else."""
    if UNQUOTED in message:
        return "flag_set() and good() take a name in quotes, such as good('teff')"
    found = UNKNOWN.search(message)
    if found is None:
        return None
    kind, asked = found.groups()
    known = list(flags_of(manifest)) if kind == "flag" else labels_of(columns)
    folded = {one.casefold(): one for one in known}
    near = [folded[one] for one in get_close_matches(asked.casefold(), folded, n=3, cutoff=0.5)]
    meant = f"did you mean {' or '.join(near)}" if near else f"{kind}s here: {', '.join(known) or 'none'}"
    return f"this catalog has no {kind} {asked!r}; {meant}{'?' if near else ''}"


def _statements(flags: Mapping[str, int], columns: Sequence[str]) -> Iterator[str]:
    yield (
        f"CREATE MACRO cone(ra0, dec0, radius) AS ([radius] IS NOT NULL AND {_cone('false')}), "
        f"(ra, dec, ra0, dec0, radius) AS ({_cone('NULL')})"
    )
    bit = _looked_up("flag", flags, "flag")
    yield (
        f"CREATE MACRO flag_set(flag) AS ([flag] IS NOT NULL AND flags & {bit} <> 0), "
        f"(flags, flag) AS (flags & {bit} <> 0)"
    )
    yield f"CREATE MACRO flag_names(flags) AS ({_names(flags)})"
    labels = labels_of(columns)
    number = _looked_up("label", {label: at for at, label in enumerate(labels)} or {"": 0}, "label")
    cases = (
        " ".join(f"WHEN {at} THEN {_known(label)}" for at, label in enumerate(labels)) or "WHEN 0 THEN false"
    )
    yield f"CREATE MACRO good(label) AS ([label] IS NOT NULL AND NOT flag_bad AND CASE {number} {cases} END)"


def _looked_up(kind: str, values: Mapping[str, int], parameter: str) -> str:
    """SQL of the number that belongs to a constant name; any other name is an error when it is bound."""
    folded = {one.casefold(): (one, value) for one, value in values.items()}
    entries = ", ".join(f"{text(f'{kind} {one}')}: {value}" for one, value in folded.values())
    return f"struct_extract({{{entries}}}, concat({text(f'{kind} ')}, {parameter}))"


def _names(flags: Mapping[str, int]) -> str:
    """SQL of the names of the bits that are set, in bit order; a bit without a name is BIT_n."""
    by_value = {value: one for one, value in flags.items()}
    words = [(1 << bit, by_value.get(1 << bit, f"BIT_{bit}")) for bit in range(BITS)]
    found = ", ".join(f"CASE WHEN flags & {value} <> 0 THEN {text(word)} END" for value, word in words)
    return f"CASE WHEN flags IS NOT NULL THEN list_filter([{found}], lambda x: x IS NOT NULL) END"


def _known(label: str) -> str:
    return f"{name(label)} IS NOT NULL AND {name(f'flag_{label}')} = 0"


def _cone(unknown: str) -> str:
    """SQL of `ra` and `dec` lying within `radius` of (ra0, dec0): a box, which prunes, then the haversine.

    The box is of constants, so that DuckDB compares it with the statistics of files and row groups. `unknown`
    tells whether a cone without a centre is right: NULL (a star of a table may have no position) or false.
    """
    ra0, dec0, radius = (f"CAST({one} AS DOUBLE)" for one in ("ra0", "dec0", "radius"))
    valid = f"(isfinite({ra0}) AND {dec0} BETWEEN -90 AND 90 AND {radius} BETWEEN 0 AND 180)"
    low, high = (
        f"CASE WHEN {valid} THEN {dec0} {sign} ({radius} + {DEC_SLACK}) ELSE {sign} 1e9 END" for sign in "-+"
    )
    refused = "error('cone(ra, dec, radius) takes degrees: dec in -90..90, radius in 0..180')"
    near = f"{_haversine(ra0, dec0)} <= {_share(f'{radius} + {EDGE}')}"
    # Beyond 90 degrees the haversine loses digits; seen from the opposite point it does not.
    opposite = _haversine(f"({ra0} + 180)", f"(-{dec0})")
    far = f"{opposite} >= {_share(f'greatest(0, 180 - {radius} - {EDGE})')}"
    exact = f"WHEN NOT coalesce({valid}, {unknown}) THEN {refused} WHEN {radius} <= 90 THEN {near} ELSE {far}"
    box = f"dec >= {low} AND dec <= {high} AND ({_meridians(ra0, dec0, radius, valid)})"
    return f"{box} AND CASE {exact} END"


def _meridians(ra0: str, dec0: str, radius: str, valid: str) -> str:
    """SQL of `ra` lying between the cone's outermost meridians, across 0 too; anywhere if it holds a pole.

    Right ascensions may be written from -360 to 360.
    """
    wide = f"degrees(asin(least(1, sin(radians({radius})) / cos(radians({dec0}))))) + {RA_SLACK}"
    has_pole = f"abs({dec0}) + {radius} > 90 - {RA_SLACK}"
    half = f"CASE WHEN {valid} AND NOT ({has_pole}) THEN {wide} ELSE 1e9 END"
    centre = f"CASE WHEN {valid} THEN {ra0} - 360 * floor({ra0} / 360) ELSE 0 END"
    turns = (-720, -360, 0, 360)
    return " OR ".join(
        f"ra BETWEEN {centre} - {half} + ({turn}) AND {centre} + {half} + ({turn})" for turn in turns
    )


def _haversine(ra0: str, dec0: str) -> str:
    """SQL of sin² of half the distance of (`ra`, `dec`)."""
    along = f"sin(radians(abs(ra - {ra0}) % 360) / 2)"
    across = f"cos(radians(dec)) * cos(radians({dec0}))"
    return f"(pow(sin(radians(dec - {dec0}) / 2), 2) + {across} * pow({along}, 2))"


def _share(degrees: str) -> str:
    return f"pow(sin(radians({degrees}) / 2), 2)"
