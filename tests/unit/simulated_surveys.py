"""Simulated surveys as their readers see them, for the tests of the simulator."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from engine.simulate import SIMULATORS
from engine.simulate.labels import LABELS
from engine.simulate.surveys.table import TABLE_COLUMNS
from engine.spec import SurveySpec
from engine.surveys.apogee import APOGEE, APOGEE_VISIT
from engine.surveys.gaia.rvs import GAIA_RVS
from engine.surveys.gaia.xp import GAIA_XP
from engine.surveys.gaia.xp_sampled import GAIA_XP_SAMPLED
from engine.surveys.galah import GALAH
from engine.surveys.giraffe import GIRAFFE
from engine.surveys.rave import RAVE
from engine.surveys.survey import Survey
from engine.surveys.table import TABLE
from engine.types import Task

STARS = 70
READERS = {
    survey.name: survey
    for survey in (GAIA_RVS, GAIA_XP, GAIA_XP_SAMPLED, APOGEE, APOGEE_VISIT, RAVE, GIRAFFE, GALAH, TABLE)
}


@dataclass(frozen=True)
class Seen:
    """A simulated survey as its reader sees it, and its truth by the first key."""

    root: Path
    survey: Survey
    spectra: pa.Table
    truth: pa.Table

    def arm(self, name: str) -> tuple[np.ndarray, ...]:
        """Flux, ivar and mask [N, P]."""
        return tuple(tensor(self.spectra, f"{kind}_{name}") for kind in ("flux", "ivar", "mask"))

    def true(self, name: str) -> np.ndarray:
        """A truth column in the order of the spectra."""
        key = self.survey.keys[0].name
        values = dict(zip(self.truth[key].to_pylist(), self.truth[name].to_pylist(), strict=True))
        return np.array([values[own] for own in self.spectra[key].to_pylist()])

    @property
    def labels_NL(self) -> np.ndarray:
        return np.stack([self.true(name) for name in LABELS], axis=1).astype(np.float32)


def tensor(table: pa.Table, name: str) -> np.ndarray:
    """A column of arrays, as one."""
    return table[name].combine_chunks().to_numpy_ndarray()


def spec_of(name: str, root: Path, **more: Any) -> SurveySpec:
    """All rows of a survey that was simulated under a root."""
    own = {"table": TABLE_COLUMNS} if name == "table" else {}
    place = root / "spectra" if name == "table" else root
    return SurveySpec.model_validate({"name": name, "root": str(place), "select": {"by": "all"}} | own | more)


def read_all(survey: Survey, spec: SurveySpec) -> pa.Table:
    """Every row, through the listing and the reader; no file may have a problem."""
    shards = list(survey.list_shards(spec))
    assert not [shard.problem for shard in shards if shard.problem]
    tasks = [Task(task_id="all", shard=shard, start=0, stop=shard.rows) for shard in shards]
    return pa.concat_tables([survey.read(spec, task) for task in tasks])


def simulate_and_read(name: str, root: Path) -> Seen:
    """STARS simulated stars of a survey, read back."""
    truth = SIMULATORS[name](root, stars=STARS, seed=5)
    spec, survey = spec_of(name, root), READERS[name]
    survey = survey if survey.configure is None else survey.configure(spec)
    return Seen(root, survey, read_all(survey, spec), pq.read_table(truth))
