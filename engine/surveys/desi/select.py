"""Which rows of a file are stars to label."""

from functools import lru_cache
from pathlib import Path

import fitsio
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from engine.errors import PlanError, ShardUnavailable
from engine.spec import Select
from engine.surveys.desi.fibermap import PHASES, Fibermap
from engine.surveys.desi.lookup import look_up
from engine.surveys.desi.redrock import Redrock
from engine.types import Bools

# Bits of DESI_TARGET and of its SV1 … SV3 forms: standard stars and everything of the Milky Way Survey.
STD_FAINT, STD_WD, STD_BRIGHT, MWS_ANY = 33, 34, 35, 61
STAR_BITS = sum(1 << bit for bit in (STD_FAINT, STD_WD, STD_BRIGHT, MWS_ANY))


def check_select(select: Select) -> None:
    """PlanError when by = "ids" and the list of ids cannot be used."""
    if select.by == "ids":
        listed_ids(select.path)


def select_rows(select: Select, fibers: Fibermap, redrock: Redrock | None) -> Bools:
    """True for the rows to label.

    ShardUnavailable when the class is asked for and there is no Redrock file; PlanError without the ids.
    """
    if select.by == "targets":
        return _stars(fibers)
    if select.by == "ids":
        return look_up(listed_ids(select.path), fibers.targetid)[1]
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


def listed_ids(path: Path | None) -> npt.NDArray[np.int64]:
    """The ids of a table, ascending; read once per process. PlanError when it cannot be had."""
    if path is None or not path.is_file():
        raise PlanError(
            f'survey.select.path: by = "ids" needs a table with column targetid; {path} is no file'
        )
    return _listed_ids(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _listed_ids(path: Path, _mtime_ns: int) -> npt.NDArray[np.int64]:
    try:
        ids = _read_ids(path)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise PlanError(f"survey.select.path: {path} has no readable column targetid: {error}") from error
    if ids.dtype.kind not in "iu":
        # A float64 holds integers only up to 2**53, and most TARGETIDs are larger.
        raise PlanError(
            f"survey.select.path: targetid in {path} is {ids.dtype}; store it as int64, with no cell empty"
        )
    if not len(ids):
        raise PlanError(f"survey.select.path: {path} has no rows; list the ids to label")
    return np.unique(ids.astype(np.int64))


def _read_ids(path: Path) -> npt.NDArray[np.generic]:
    if path.suffix == ".parquet":
        return pq.read_table(path, columns=["targetid"])["targetid"].to_numpy()
    if path.suffix == ".csv":
        return pyarrow.csv.read_csv(path)["targetid"].to_numpy()
    with fitsio.FITS(str(path)) as library:
        if not isinstance(library[1], fitsio.hdu.TableHDU):
            raise OSError("its first extension is an image, expected a table")
        return library[1].read_column("TARGETID")
