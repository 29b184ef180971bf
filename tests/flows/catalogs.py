"""Short ways to a verified catalog, and to its flags."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from catalogs import open_catalog, verify
from engine.flags import BY_NAME
from engine.plan import make_plan
from engine.spec import Profile, RunSpec
from jobs.run import run


def catalog_of(root: Path, bundle: Path, out: Path, draws: int) -> pa.Table:
    """Run every row under a root, with velocities from Redrock, and give back the verified catalog."""
    plain = {
        "survey": {"name": "desi", "root": root, "select": {"by": "all"}},
        "model": {"bundle": bundle},
        "sampling": {"draws": draws},
        "catalog": {"name": "test", "version": "1", "root": out},
    }
    report = run(make_plan(RunSpec.model_validate(plain)), Profile(runtime="local"))
    assert verify(report.catalog).rows == report.committed.rows
    return open_catalog(report.catalog).to_arrow()


def has(rows: pa.Table, *flags: str) -> np.ndarray:
    """Which rows carry one of these flags."""
    return (rows["flags"].to_numpy() & sum(BY_NAME[flag].value for flag in flags)) != 0
