"""A small network for each survey, trained on simulated stars of it; and what a run makes of other stars."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs import open_catalog, verify
from engine.plan import make_plan
from engine.simulate import SIMULATORS
from engine.simulate.surveys.table import TABLE_COLUMNS
from engine.spec import Profile, RunSpec, SurveySpec
from engine.train import train
from engine.train.spec import TrainSpec
from jobs.run import run

LABELS = ("teff", "logg", "fe_h")
DRAWS = 20
STARS, SEED = 560, 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """How a survey is learnt: which network, and the truth's columns that name a spectrum."""

    model: str
    key: tuple[str, ...]


LESSONS: Mapping[str, Lesson] = {
    "gaia_rvs": Lesson(model="rvs_mlp", key=("source_id",)),
    "gaia_xp": Lesson(model="xp_mlp", key=("source_id",)),
    "gaia_xp_sampled": Lesson(model="xp_sampled_mlp", key=("source_id",)),
    "apogee": Lesson(model="apogee_mlp", key=("apogee_id", "telescope", "field")),
    "apogee_visit": Lesson(model="apogee_mlp", key=("apogee_id", "telescope", "plate", "mjd", "fiber")),
    "rave": Lesson(model="rave_mlp", key=("rave_obs_id",)),
    "giraffe": Lesson(model="hr15n_mlp", key=("object",)),
    "galah": Lesson(model="galah_mlp", key=("sobject_id",)),
    "table": Lesson(model="hr15n_mlp", key=("id",)),
}

Bundles = Callable[[str], Path]


@cache
def small_bundle(name: str, folder: Path) -> Path:
    """The bundle that has learnt a survey; made once for each folder."""
    root, out = folder / f"learn-{name}", folder / f"small-{name}"
    truth = SIMULATORS[name](root, stars=STARS, seed=SEED)
    spectra: dict[str, Any] = {"name": name, "root": root, "select": {"by": "all"}}
    if name == "table":
        spectra |= {"root": root / "spectra", "table": TABLE_COLUMNS}
    floors = {"teff": 100.0, "logg": 0.2, "fe_h": 0.1}
    plain = {
        "survey": spectra,
        "labels": {"path": truth, "key": LESSONS[name].key, "names": LABELS, "error_floor": floors},
        "model": {"name": LESSONS[name].model, "hyper": {"hidden": [128, 64], "dropout": 0.05}},
        "training": {"epochs": 30, "batch": 32, "weight_decay": 0.1},
        "cuts": {"min_snr": 8.0},
        "sampling": {"draws": DRAWS},
        "bundle": {"out": out, "name": f"small-{name}"},
    }
    train(TrainSpec.model_validate(plain), on_shard=lambda *_: None, on_epoch=lambda _: None)
    return out


def labelled(survey: SurveySpec, bundle: Path, out: Path, **sections: Any) -> pa.Table:
    """Run every row of a survey in this process; the rows of the verified catalog."""
    plain: dict[str, Any] = {
        "survey": survey,
        "model": {"bundle": bundle},
        "sampling": {"draws": DRAWS},
        "catalog": {"name": survey.name, "version": "1", "root": out},
    }
    report = run(make_plan(RunSpec.model_validate(plain | sections)), Profile(runtime="local"))
    assert verify(report.catalog).rows == report.committed.rows
    return open_catalog(report.catalog).to_arrow()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How labels agree with what is true: scatter and spread in the label's unit, and their correlation."""

    stars: int
    scatter: float
    spread: float
    correlation: float


def agreement(both: pa.Table, label: str, good: np.ndarray) -> Agreement:
    """Labels against `<label>_true`, for the good rows; the scatter is robust."""
    found, true = (both[name].to_numpy()[good].astype(np.float64) for name in (label, f"{label}_true"))
    residual = found - true
    return Agreement(
        stars=len(found),
        scatter=float(1.4826 * np.median(np.abs(residual))),
        spread=float(true.std()),
        correlation=float(np.corrcoef(found, true)[0, 1]),
    )
