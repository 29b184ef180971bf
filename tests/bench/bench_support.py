"""How many strange spectra are flagged, how many good ones falsely, and what telling them apart costs.

Three bundles: of all simulated DESI stars, of DESI dwarfs like the Sun alone (so that stars can lie 3 sigma
outside of what it knows), and of Gaia RVS. False alarms are on simulated stars that no training has seen.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
from rich.console import Console

from engine.simulate import SIMULATORS, simulate_desi
from engine.simulate.labels import LABELS
from engine.spec import SurveySpec
from engine.support import Subspace, pixel_scores
from engine.surveys import survey_of
from engine.types import Task
from tests.alarms import Alarms, alarms, labeller, shown
from tests.flows.small_bundles import small_bundle
from tests.inputs import inputs_of
from tests.lessons import dwarfs, learn_all, learn_dwarfs, strangers
from tests.strange import desi_kinds, healthy, hot, of_rvs, rippled, seen, starlight

ROWS, DWARFS = 200, 900
PIXELS, COMPONENTS, TASK_ROWS, ROUNDS = 7781, 24, 512, 7
AIMS = {
    "desi: held out": "about 0.05",
    "dwarfs: held out": "about 0.05",
    "gaia_rvs: held out": "about 0.05",
}


def bench(work: Path) -> dict[str, float]:
    """Shares that carry any bit of support, by bundle and kind, of all and by S/N; and seconds per task."""
    simulate_desi(work / "desi", stars=900, seed=12, resolution=False)
    console, figures = Console(width=220), {}
    for name, found in (("desi", of_all(work)), ("dwarfs", of_dwarfs(work)), ("gaia_rvs", of_gaia(work))):
        console.print(name, shown(found))
        for kind, alarm in found.items():
            figures[f"{name}: {kind}"] = alarm.any
            parts = alarm.by_snr | alarm.by_bit
            figures |= {f"{name}: {kind}, {part}": x for part, x in parts.items() if np.isfinite(x)}
    return figures | {f"seconds of pixel_scores, {TASK_ROWS} rows": seconds()}


def of_all(work: Path) -> Mapping[str, Alarms]:
    """What a network of all kinds of stars says."""
    rows, labels_NL = healthy(work / "desi")
    base, base_NL = rows.slice(0, ROWS), labels_NL[:ROWS]
    stars = seen(base, starlight(base, base_NL), seed=9)
    tables = {"held out": rows} | desi_kinds(base, base_NL, seed=3)
    tables["3 sigma hotter"] = hot(base, base_NL, seed=8)
    tables |= {f"ripples of {x:.0%}": rippled(stars, amplitude=x, seed=10) for x in (0.02, 0.05)}
    label = labeller(learn_all(work, stars=1200), _spec("desi", work / "desi"))
    faint = {"noise around zero": -np.inf}
    return {kind: alarms(label(rows), least_snr=faint.get(kind, 10.0)) for kind, rows in tables.items()}


def of_dwarfs(work: Path) -> Mapping[str, Alarms]:
    """What a network says that knows dwarfs alone; held-out ones are a survey like its own."""
    rows, _ = healthy(work / "desi")
    labels_NL, base = dwarfs(), rows.slice(0, ROWS)
    label = labeller(learn_dwarfs(work, stars=DWARFS), _spec("desi", work / "desi"))
    own = pa.table({name: column[DWARFS:][:600] for name, column in _columns(labels_NL).items()})
    simulate_desi(work / "more-dwarfs", stars=600, seed=14, labels=own, resolution=False)
    tables = {"held out": healthy(work / "more-dwarfs")[0]}
    tables |= {kind: seen(base, starlight(base, far), seed=2) for kind, far in strangers(ROWS).items()}
    return {kind: alarms(label(rows)) for kind, rows in tables.items()}


def of_gaia(work: Path) -> Mapping[str, Alarms]:
    """What a network of Gaia RVS says."""
    bundle = small_bundle("gaia_rvs", work)
    SIMULATORS["gaia_rvs"](work / "rvs", stars=640, seed=77)
    spec = _spec("gaia_rvs", work / "rvs")
    survey = survey_of(spec)
    tasks = (Task(task_id="all", shard=s, start=0, stop=s.rows) for s in survey.list_shards(spec))
    rows = pa.concat_tables([survey.read(spec, task) for task in tasks]).combine_chunks()
    label, tables = labeller(bundle, spec), {"held out": rows} | of_rvs(rows.slice(0, ROWS))
    return {kind: alarms(label(table)) for kind, table in tables.items()}


def seconds() -> float:
    """Of the scores over pixels of one task of DESI spectra, on the host, one thread."""
    random = np.random.default_rng(0)
    subspace = Subspace(
        mean_P=random.normal(size=PIXELS).astype(np.float32),
        components_MP=random.normal(size=(COMPONENTS, PIXELS)).astype(np.float32),
        scatter_P=np.full(PIXELS, 0.05, np.float32),
        scale_P=np.full(PIXELS, 0.2, np.float32),
    )
    x_NP = random.normal(size=(TASK_ROWS, PIXELS)).astype(np.float32)
    inputs = inputs_of(x_NP, random.uniform(100, 4000, x_NP.shape).astype(np.float32))
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        pixel_scores(inputs, subspace)
        taken.append(time.perf_counter() - start)
    return median(taken)


def _columns(labels_NL: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(LABELS, labels_NL.T, strict=True))


def _spec(name: str, root: Path) -> SurveySpec:
    return SurveySpec.model_validate({"name": name, "root": root, "select": {"by": "all"}})
