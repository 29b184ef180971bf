"""FIBERMAP rows: keys, positions and the other numbers that go with a spectrum."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from engine.errors import ShardCorrupt
from engine.surveys.desi.layout import KEYS
from engine.surveys.fits import FitsFile
from engine.surveys.fits_headers import Hdu, find_hdu
from engine.surveys.fits_tables import read_table
from engine.types import Bools

PHASES = ("", "SV1_", "SV2_", "SV3_")
TARGET_COLUMNS = tuple(f"{phase}{kind}_TARGET" for phase in PHASES for kind in ("DESI", "MWS"))

# Where each key is looked for besides the path: table columns, then keywords of the primary header.
KEY_PLACES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "survey": (("SURVEY",), ("SURVEY",)),
    "program": (("PROGRAM",), ("PROGRAM",)),
    "healpix": (("HPXPIXEL", "HEALPIX"), ("HPXPIXEL",)),
    "tileid": (("TILEID",), ("TILEID",)),
    "targetid": (("TARGETID",), ()),
    "expid": (("EXPID",), ()),
}

# Catalog column -> FIBERMAP column, where 0.0 stands for "not in Gaia".
GAIA = {
    "phot_g_mean_mag": "GAIA_PHOT_G_MEAN_MAG",
    "phot_bp_mean_mag": "GAIA_PHOT_BP_MEAN_MAG",
    "phot_rp_mean_mag": "GAIA_PHOT_RP_MEAN_MAG",
    "parallax": "PARALLAX",
}
GAIA_CATALOGUES = ("G2", "G3")
STATUS = ("COADD_FIBERSTATUS", "FIBERSTATUS")

# The columns that are read, and the numpy kinds they may be of.
INTEGERS = ("HPXPIXEL", "HEALPIX", "TILEID", "TARGETID", "EXPID", "REF_ID", *TARGET_COLUMNS, *STATUS)
WANTED = {
    **dict.fromkeys(INTEGERS, "i"),
    **dict.fromkeys((*GAIA.values(), "TARGET_RA", "TARGET_DEC", "EBV"), "f"),
    **dict.fromkeys(("SURVEY", "PROGRAM", "OBJTYPE", "REF_CAT"), "U"),
}

HEALPIX_NAME = re.compile(r"\w+-(?P<survey>[a-z]\w*)-(?P<program>[a-z]\w*)-(?P<healpix>\d+)\.fits")
TILE_NAME = re.compile(r"\w+-\d-(?P<tileid>\d+)-[a-z]*\d+\.fits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fibermap:
    """Some rows of a FIBERMAP: its columns that we use, the primary header, the file's name."""

    rows: npt.NDArray[np.int64]
    columns: Mapping[str, npt.NDArray[Any]]
    primary: Hdu
    name: str

    @property
    def targetid(self) -> npt.NDArray[np.int64]:
        """DESI's id of each row's target."""
        return self.columns["TARGETID"]

    def take(self, chosen_N: Bools) -> "Fibermap":
        """The rows that are True."""
        columns = {name: values[chosen_N] for name, values in self.columns.items()}
        return replace(self, rows=self.rows[chosen_N], columns=columns)


def read_fibermap(file: FitsFile, name: str, start: int, stop: int) -> Fibermap:
    """Rows [start, stop) of a file's FIBERMAP; ShardCorrupt when it, or its TARGETID, is not there."""
    hdus = file.walk()
    primary = next(hdus)
    columns = read_table(file.file, find_hdu(hdus, "FIBERMAP"), WANTED, start, stop)
    if "TARGETID" not in columns:
        raise ShardCorrupt("HDU FIBERMAP: no column TARGETID, expected in every DESI spectra file")
    return Fibermap(rows=np.arange(start, stop), columns=columns, primary=primary, name=name)


def keys(fibers: Fibermap) -> dict[str, pa.Array]:
    """The survey's key columns: from the table, else the header, else the path, else NULL."""
    from_name = HEALPIX_NAME.match(fibers.name) or TILE_NAME.match(fibers.name)
    path = from_name.groupdict() if from_name else {}
    return {key.name: _key(fibers, key.name, key.type, path.get(key.name)) for key in KEYS}


def _key(fibers: Fibermap, name: str, kind: pa.DataType, in_path: str | None) -> pa.Array:
    columns, keywords = KEY_PLACES[name]
    for values in (fibers.columns[column] for column in columns if column in fibers.columns):
        return _known(values, values != "" if kind == pa.string() else _valid_id(name, values), kind)
    found = next((value for word in keywords if (value := fibers.primary.value(word)) is not None), None)
    if name == "healpix" and found is None and fibers.primary.value("SPGRP") == "healpix":
        found = fibers.primary.value("SPGRPVAL")
    if name == "survey" and found is None and in_path is None:
        found = _phase(fibers)
    return pa.repeat(_scalar(in_path if found is None else found, kind), len(fibers.rows))


def _scalar(value: Any, kind: pa.DataType) -> pa.Scalar:
    """A header's or path's value; NULL when it is no such thing."""
    if kind == pa.string():
        return pa.scalar(None if value is None else str(value), kind)
    number = int(value) if str(value).isdecimal() else -1
    return pa.scalar(number if 0 <= number < 2**31 else None, kind)


def _valid_id(name: str, values: npt.NDArray[Any]) -> Bools:
    # Only targetid has a meaning below zero (stuck fibres); elsewhere -1 fills.
    return np.full(len(values), True) if name == "targetid" else values >= 0


def _phase(fibers: Fibermap) -> str | None:
    """The survey that the name of the target columns gives away: only SV1 … SV3 have columns of their own."""
    found = [phase for phase in PHASES[1:] if f"{phase}DESI_TARGET" in fibers.columns]
    return found[0].rstrip("_").lower() if len(found) == 1 else None


def scalars(fibers: Fibermap) -> dict[str, pa.Array]:
    """Position, Gaia, dust, type, status and row; NULL where FIBERMAP does not know."""
    status = next((name for name in STATUS if name in fibers.columns), "")
    found = {name: _number(fibers, column, pa.float32(), missing=0.0) for name, column in GAIA.items()}
    return found | {
        "ra": _number(fibers, "TARGET_RA", pa.float64()),
        "dec": _number(fibers, "TARGET_DEC", pa.float64()),
        "gaia_source_id": _gaia_id(fibers),
        "ebv": _number(fibers, "EBV", pa.float32()),
        "object_type": _text(fibers, "OBJTYPE"),
        "instrument_status": _number(fibers, status, pa.int32()),
        "row_in_shard": pa.array(fibers.rows, pa.int32()),
    }


def _number(fibers: Fibermap, column: str, kind: pa.DataType, *, missing: float | None = None) -> pa.Array:
    if column not in fibers.columns:
        return pa.nulls(len(fibers.rows), kind)
    values = fibers.columns[column]
    return _known(values, np.isfinite(values) & (values != missing), kind)


def _text(fibers: Fibermap, column: str) -> pa.Array:
    if column not in fibers.columns:
        return pa.nulls(len(fibers.rows), pa.string())
    return pa.array(fibers.columns[column], pa.string())


def _gaia_id(fibers: Fibermap) -> pa.Array:
    if not {"REF_ID", "REF_CAT"} <= fibers.columns.keys():
        return pa.nulls(len(fibers.rows), pa.int64())
    ids = fibers.columns["REF_ID"]
    # REF_ID may be a Tycho-2 or galaxy-atlas number as well.
    return _known(ids, (ids > 0) & np.isin(fibers.columns["REF_CAT"], GAIA_CATALOGUES), pa.int64())


def _known(values: npt.NDArray[Any], known_N: Bools, kind: pa.DataType) -> pa.Array:
    """An Arrow array, NULL where not known."""
    typed = values if kind == pa.string() else values.astype(kind.to_pandas_dtype())
    return pa.array(typed, kind, mask=~known_N)
