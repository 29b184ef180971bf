"""Which column of a table is meant: the same name, or the same but for capitals and underscores."""

from collections.abc import Mapping, Sequence

from engine.errors import InputError

# What other tables call ids that we know.
ALSO = {"gaia_source_id": ("source_id", "gaia_dr3_source_id"), "source_id": ("gaia_source_id",)}
ERRORS = ("e_{}", "{}_err", "{}_error", "err_{}", "sigma_{}")


def find(wanted: str, columns: Sequence[str]) -> str | None:
    """The column of that name; fe_h is found as FEH, alpha_fe as ALPHAFE, gaia_source_id as SOURCE_ID."""
    if wanted in columns:
        return wanted
    for one in (wanted, *ALSO.get(wanted.casefold(), ())):
        for column in columns:
            if _folded(column) == _folded(one):
                return column
    return None


def find_error(label: str, theirs: str, columns: Sequence[str]) -> str | None:
    """The column with a label's errors: e_teff, TEFF_ERR and the like."""
    tried = (pattern.format(name) for name in (label, theirs) for pattern in ERRORS)
    return next((found for name in tried if (found := find(name, columns))), None)


def pairs_of(option: str, given: Sequence[str]) -> dict[str, str]:
    """OURS=THEIRS, or one name for both; InputError for what is neither, or comes twice."""
    found: dict[str, str] = {}
    for word in given:
        ours, equals, theirs = (part.strip() for part in word.partition("="))
        if not ours or (equals and not theirs):
            raise InputError(f"{option} {word!r}: give OURS=THEIRS, such as teff=TEFF")
        if ours in found:
            raise InputError(f"{option}: {ours} is given twice")
        found[ours] = theirs if equals else ours
    return found


def chosen(ours: str, mapping: Mapping[str, str], columns: Sequence[str], title: str) -> str | None:
    """The second side's column for one of ours: as asked, else by its name. InputError if it is not there."""
    if ours not in mapping:
        return find(ours, columns)
    if (found := find(mapping[ours], columns)) is None:
        raise InputError(f"{title} has no column {mapping[ours]}; it has {listed(columns)}")
    return found


def listed(columns: Sequence[str], most: int = 40) -> str:
    """Some names for a message."""
    more = f", … ({len(columns)} in all)" if len(columns) > most else ""
    return ", ".join(columns[:most]) + more


def _folded(name: str) -> str:
    return name.replace("_", "").casefold()
