"""A field of simulated stars, with what is true of them and a label table to match: for cross-matches."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.simulate import simulate_desi
from engine.train.spec import TrainSpec

YEARS = 26.0


@dataclass(frozen=True)
class Field:
    """A simulated survey, what is true of its spectra, and a label table for ids and positions."""

    root: Path
    truth: pa.Table
    stars: pa.Table


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Field:
    """400 stars, some observed twice; every tenth has no label. The table has them where they were."""
    root = tmp_path_factory.mktemp("crossmatch")
    truth = pq.read_table(
        simulate_desi(root / "survey", stars=400, seed=21, resolution=False, stars_per_file=60)
    )
    star_id = np.where(truth["kind"].to_numpy() == "star", truth["targetid"].to_numpy(), -1)
    first = np.unique(star_id, return_index=True)
    stars = truth.take(first[1][first[0] > 0])
    stars = stars.take(np.flatnonzero(np.arange(len(stars)) % 10 != 3))
    random = np.random.default_rng(4)
    pm_ra, pm_dec = random.uniform(-300, 300, (2, len(stars)))
    dec = stars["dec"].to_numpy()
    columns = {
        "id": stars["targetid"],
        "RA": stars["ra"].to_numpy() - pm_ra * YEARS / 3.6e6 / np.cos(np.radians(dec)),
        "DEC": dec - pm_dec * YEARS / 3.6e6,
        "PMRA": pm_ra,
        "PMDEC": pm_dec,
        "TEFF": stars["teff"],
        "TEFF_ERR": np.full(len(stars), 30.0, np.float32),
        "TEFF_RVS": np.where(np.arange(len(stars)) % 3 == 0, np.nan, stars["teff"].to_numpy() + 300),
        "NOBODY": -1 - np.arange(len(stars)),
        "FE_H": stars["fe_h"],
        "FE_H_ERR": np.full(len(stars), 0.02, np.float32),
        "FE_H_FLAG": (np.arange(len(stars)) % 7 == 0).astype(np.int32) * 4,
        "STARFLAG": (np.arange(len(stars)) % 5 == 0).astype(np.int32) * 8,
    }
    pq.write_table(pa.table(columns), root / "stars.parquet")
    return Field(root=root, truth=truth, stars=pa.table(columns))


COLUMNS = {"teff": "TEFF", "e_teff": "TEFF_ERR", "fe_h": "FE_H", "e_fe_h": "FE_H_ERR", "targetid": "id"}
SKY = {
    "radius_arcsec": 0.5,
    "ra": "RA",
    "dec": "DEC",
    "pm_ra": "PMRA",
    "pm_dec": "PMDEC",
    "epoch": 2000.0,
    "survey_epoch": 2000.0 + YEARS,
}
CUTS = {"hot": "teff < 6000", "starflag": "STARFLAG & 0b1001 == 0", "bright": "snr > 12 and e_teff < 100"}


@pytest.fixture
def spec(field: Field, tmp_path: Path) -> Callable[..., TrainSpec]:
    def make(**sections: Any) -> TrainSpec:
        plain: dict[str, Any] = {
            "survey": {"name": "desi", "root": field.root / "survey"},
            "labels": {
                "path": field.root / "stars.parquet",
                "key": ["targetid"],
                "names": ["teff", "fe_h"],
                "columns": COLUMNS,
                "flagged": {"fe_h": "FE_H_FLAG"},
            },
            "cuts": CUTS,
            "split": {"validation": 0.15, "calibration": 0.2, "test": 0.2},
            "model": {"name": "desi_mlp_5", "hyper": {"hidden": [32, 16, 16, 8, 8]}},
            "training": {"epochs": 2, "batch": 32},
            "sampling": {"draws": 5},
            "bundle": {"out": tmp_path / "bundle", "name": "tiny"},
        }
        for name, section in sections.items():
            plain[name] = plain.get(name, {}) | section
        return TrainSpec.model_validate(plain)

    return make
