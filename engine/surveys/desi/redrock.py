"""Redrock's redshift file beside a spectra file."""

import re
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from engine.errors import ShardCorrupt
from engine.surveys.desi.lookup import look_up
from engine.surveys.fits import named, opened
from engine.surveys.fits_headers import find_hdu
from engine.surveys.fits_tables import read_table
from engine.surveys.store import Store
from engine.types import Bools, Doubles, Shard

# Columns, and the numpy kinds they may be of.
COLUMNS = {"TARGETID": "i", "Z": "f", "ZERR": "f", "ZWARN": "i", "SPECTYPE": "U"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrock:
    """Redshift fits of some rows; where there is none, Z and ZERR are NaN and SPECTYPE is ""."""

    z_N: Doubles
    zerr_N: Doubles
    zwarn_N: npt.NDArray[np.int64]
    spectype_N: npt.NDArray[np.object_]
    found_N: Bools

    def take(self, chosen_N: Bools) -> "Redrock":
        """The rows that are True."""
        return Redrock(**{part.name: getattr(self, part.name)[chosen_N] for part in fields(self)})


def redrock_names(spectra: str) -> tuple[str, str]:
    """The files that may hold the redshifts of a spectra file: gzipped and plain.

    Releases gzip the spectra and leave the redshifts plain, so both endings are looked for.
    """
    folder, slash, name = spectra.rpartition("/")
    plain = folder + slash + re.sub(r"^(coadd|spectra)-", "redrock-", name.removesuffix(".gz"))
    return f"{plain}.gz", plain


def read_redrock(store: Store, shard: Shard, targetid_N: npt.NDArray[np.int64]) -> Redrock | None:
    """Redrock's results for some targets; None when there is no file beside the shard's.

    ShardError when it is broken, or no longer what was planned with. A spectra file has a row per exposure
    and Redrock a row per target: so rows are joined by TARGETID.
    """
    for name in (shard.path_beside,) if shard.path_beside else redrock_names(shard.path):
        with named(store.address(name)):
            store.refuse_change(name, shard.fingerprint_beside)
    if not shard.path_beside:
        return None
    with named(store.address(shard.path_beside)), opened(store, shard.path_beside) as file:
        table = find_hdu(file.walk(), "REDSHIFTS")
        found = read_table(file.file, table, COLUMNS, 0, table.rows)
        if missing := COLUMNS.keys() - found.keys():
            raise ShardCorrupt(f"HDU REDSHIFTS: no column {', '.join(sorted(missing))}, expected one of each")
    ids = found["TARGETID"]
    order = np.argsort(ids, kind="stable")
    place_N, found_N = look_up(ids[order], targetid_N)
    z_N, zerr_N = np.full((2, len(targetid_N)), np.nan)
    zwarn_N, spectype_N = np.zeros(len(targetid_N), np.int64), np.full(len(targetid_N), "", object)
    row = order[place_N[found_N]]
    for column, out in (("Z", z_N), ("ZERR", zerr_N), ("ZWARN", zwarn_N), ("SPECTYPE", spectype_N)):
        out[found_N] = found[column][row]
    return Redrock(z_N=z_N, zerr_N=zerr_N, zwarn_N=zwarn_N, spectype_N=spectype_N, found_N=found_N)
