"""What [[auxiliary]] tables may be asked for, by our names, before any of them is opened."""

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa

from engine.auxiliary.inputs import AUXILIARY, PARALLAX_ZERO_POINT
from engine.columns import POSITION, SCALARS
from engine.errors import PlanError
from engine.spec import Auxiliary
from engine.types import Column

# Of the columns that every batch has, those that a table may fill.
FILLED = (
    "gaia_source_id",
    "phot_g_mean_mag",
    "phot_bp_mean_mag",
    "phot_rp_mean_mag",
    "parallax",
    "ebv",
    "rv",
    "rv_err",
)
KNOWN: Mapping[str, Column] = {
    column.name: column for column in (*POSITION, *(c for c in SCALARS if c.name in FILLED), *AUXILIARY)
}

# What only means something together with another column of the same table.
NEEDS = {"ra": "dec", "dec": "ra", "rv_err": "rv"}

ARRAY_NAME = re.compile(r"[a-z][a-z0-9_]*")


def check_asked(specs: Sequence[Auxiliary], survey_columns: Sequence[Column]) -> None:
    """PlanError, with the remedy, for what cannot be right whatever the tables hold."""
    taken: dict[str, Auxiliary] = {}
    own = {column.name for column in survey_columns} - set(KNOWN)
    for spec in specs:
        match_type(spec, survey_columns)
        for name in spec.columns:
            _check_name(name, spec, own)
            if name in taken:
                raise PlanError(
                    f"auxiliary: {taken[name].path} and {spec.path} both give {name}; ask one of them for it"
                )
            taken[name] = spec


def match_type(spec: Auxiliary, survey_columns: Sequence[Column]) -> pa.DataType:
    """int64 or string: what the ids of a table must be, to be compared with the spectra's."""
    kinds = {
        column.name: pa.int64() if pa.types.is_integer(column.type) else column.type
        for column in survey_columns
        if pa.types.is_integer(column.type) or pa.types.is_string(column.type)
    }
    if spec.match not in kinds:
        raise PlanError(
            f"auxiliary.match: the spectra have no id column {spec.match!r} to compare {spec.key} of "
            f"{spec.path} with; they have {', '.join(kinds)}"
        )
    return kinds[spec.match]


def _check_name(name: str, spec: Auxiliary, own: set[str]) -> None:
    if name == PARALLAX_ZERO_POINT.name:
        raise PlanError(
            f"auxiliary.columns: {name} is computed, not read; ask for nu_eff_used_in_astrometry, "
            "pseudocolour, ecl_lat and astrometric_params_solved instead"
        )
    if name in own:
        raise PlanError(
            f"auxiliary.columns: {name} belongs to the spectra and no table can give it; {known_names()}"
        )
    if not ARRAY_NAME.fullmatch(name):
        raise PlanError(f"auxiliary.columns: {name!r} is no name of ours: a-z, 0-9 and _; {known_names()}")
    if name in NEEDS and NEEDS[name] not in spec.columns:
        raise PlanError(
            f"auxiliary.columns: {name} of {spec.path} needs {NEEDS[name]} from the same table: name it too"
        )


def known_names() -> str:
    """The scalars that can be asked for, for a message."""
    return f"known scalars: {', '.join(KNOWN)}; any other name is for a column of arrays"
