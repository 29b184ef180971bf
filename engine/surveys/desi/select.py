"""Which rows of a file are stars to label."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from engine.errors import PlanError, ShardUnavailable
from engine.spec import Select
from engine.surveys.desi.fibermap import PHASES, Fibermap
from engine.surveys.desi.lookup import look_up
from engine.surveys.desi.redrock import Redrock
from engine.surveys.ids import listed_ids
from engine.types import Bools

# Bits of DESI_TARGET and of its SV1 … SV3 forms: standard stars and everything of the Milky Way Survey.
STD_FAINT, STD_WD, STD_BRIGHT, MWS_ANY = 33, 34, 35, 61
STAR_BITS = sum(1 << bit for bit in (STD_FAINT, STD_WD, STD_BRIGHT, MWS_ANY))


def check_select(select: Select) -> None:
    """PlanError when by = "ids" and the list of ids cannot be used."""
    if select.by == "ids":
        _targetids(select)


def select_rows(select: Select, fibers: Fibermap, redrock: Redrock | None) -> Bools:
    """True for the rows to label.

    ShardUnavailable when the class is asked for and there is no Redrock file; PlanError without the ids.
    """
    if select.by == "targets":
        return _stars(fibers)
    if select.by == "ids":
        return look_up(_targetids(select), fibers.targetid)[1]
    if select.by == "all":
        return np.ones(len(fibers.rows), np.bool_)
    if redrock is None:
        raise ShardUnavailable(
            'no redrock file beside it, expected for select.by = "spectype"; copy it there or use "targets"'
        )
    return np.isin(redrock.spectype_N.astype(np.str_), select.spectype)


def _stars(fibers: Fibermap) -> Bools:
    columns = fibers.columns
    star_N = np.zeros(len(fibers.rows), np.bool_)
    for phase in PHASES:
        if (desi := f"{phase}DESI_TARGET") in columns:
            star_N |= (columns[desi] & STAR_BITS) != 0
        if (mws := f"{phase}MWS_TARGET") in columns:
            star_N |= columns[mws] != 0
    return star_N & (columns["OBJTYPE"] == "TGT") if "OBJTYPE" in columns else star_N


def _targetids(select: Select) -> npt.NDArray[np.int64]:
    """The TARGETIDs to label, ascending."""
    ids = listed_ids(select, "targetid")
    if not pa.types.is_integer(ids.type):
        raise PlanError(f"survey.select.path: targetid in {select.path} is text; store it as int64")
    return np.sort(ids.to_numpy())
