"""Radial velocities of rows, in km/s, from wherever the spec says."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa

from engine.prepare.frame import LIGHT_KMS
from engine.spec import Velocity
from engine.surveys.desi.listing import Velocities, listed_velocities
from engine.surveys.desi.redrock import Redrock
from engine.types import Bools, Doubles

# Beyond this redshift (3000 km/s) nothing is a star of ours: a galaxy's redshift is no stellar velocity.
LARGEST_STELLAR_Z = 0.01

KMS = pa.float32()


def velocity_columns(
    rv: Velocity, keys: Mapping[str, pa.Array], redrock: Redrock | None
) -> dict[str, pa.Array]:
    """rv, rv_err, rv_source, rv_warn and rv_check of the rows with these keys; NULL where unknown."""
    found = _velocities(rv, keys, redrock)
    known_N = np.isfinite(found.rv_N)
    everywhere_N = np.ones(len(known_N), np.bool_)
    source_N = np.full(len(known_N), rv.source, object)
    return {
        "rv": _nullable(found.rv_N, known_N),
        "rv_err": _nullable(found.err_N, known_N),
        "rv_source": pa.array(source_N, pa.string(), mask=~known_N),
        "rv_warn": _nullable(found.warn_N, known_N, pa.int32()),
        "rv_check": _nullable(found.check_N, everywhere_N),
    }


def _nullable(values_N: Doubles, known_N: Bools, kind: pa.DataType = KMS) -> pa.Array:
    sane_N = known_N & (np.abs(values_N) < 2**31)
    return pa.array(np.where(sane_N, values_N, 0).astype(kind.to_pandas_dtype()), kind, mask=~sane_N)


def _velocities(rv: Velocity, keys: Mapping[str, pa.Array], redrock: Redrock | None) -> Velocities:
    unknown_N = np.full(len(keys["targetid"]), np.nan)
    if rv.source in ("rvtab", "table"):
        found = listed_velocities(rv, keys)
        second_N = unknown_N if redrock is None else LIGHT_KMS * redrock.z_N
        return replace(found, check_N=np.where(np.isfinite(found.check_N), found.check_N, second_N))
    if rv.source == "redrock" and redrock is not None:
        stellar_N = np.abs(redrock.z_N) < LARGEST_STELLAR_Z
        return Velocities(
            rv_N=np.where(stellar_N, LIGHT_KMS * redrock.z_N, np.nan),
            err_N=LIGHT_KMS * redrock.zerr_N,
            warn_N=redrock.zwarn_N.astype(np.float64),
            check_N=unknown_N,
        )
    return Velocities(rv_N=unknown_N, err_N=unknown_N, warn_N=unknown_N, check_N=unknown_N)
