"""Every survey but DESI, from files to a catalog: simulate, train, run, verify, compare with the truth.

DESI has flows of its own. A network that learns from spectra which its reader or its preparation spoils
alike would not notice; so some bundles also run on another survey of the same light.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.models import MODELS
from engine.models.architecture import Architecture, handshake
from engine.simulate import SIMULATORS
from engine.spec import Auxiliary, RunSpec, SurveySpec
from engine.surveys import survey_of
from engine.toml import load
from engine.train.spec import TrainSpec
from tests.flows.catalogs import has
from tests.flows.small_bundles import LESSONS, agreement, labelled, small_bundle

JOBS = Path(__file__).parents[2] / "jobs"

# Of what simulated surveys contain on purpose.
NO_SPECTRUM = {"gaia_xp": (1, 4), "table": (1, 1)}
WITHOUT_POSITION = ("rave", "galah")
APPROXIMATE = ("gaia_xp",)
FIFTY_ARCSEC = 50 / 3600
# By label: the most scatter, in units of the spread of the truth, and the least correlation.
LIMITS = {"teff": (0.35, 0.93), "logg": (0.7, 0.6), "fe_h": (0.6, 0.6)}


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The small bundle of a survey, by name."""
    return lambda name: small_bundle(name, tmp_path_factory.getbasetemp())


def truth_of(spec: SurveySpec) -> pa.Table:
    root = Path(spec.root)
    return pq.read_table((root.parent if spec.name == "table" else root) / "truth.parquet")


def with_truth(rows: pa.Table, spec: SurveySpec) -> pa.Table:
    """Rows of a catalog with the truth beside them, columns that both have as `<name>_true`."""
    key = list(LESSONS[spec.name].key)
    both = rows.join(truth_of(spec), key, right_suffix="_true", join_type="inner")
    assert len(both) == len(rows) == len(truth_of(spec)), "every star is in the catalog once, by its own id"
    return both


def follow(both: pa.Table, good: np.ndarray, limits: Mapping[str, tuple[float, float]]) -> None:
    """Labels of the good rows scatter less than this share of the spread, and correlate better than this."""
    assert good.sum() > 0.7 * len(both)
    for label, (scatter, correlation) in limits.items():
        found = agreement(both, label, good)
        assert found.scatter < scatter * found.spread, (label, found)
        assert found.correlation > correlation, (label, found)


def trusted(both: pa.Table) -> np.ndarray:
    """Which rows a user would take."""
    return ~np.logical_or.reduce([has(both, name) for name in ("NO_RESULT", "UNLIKE_TRAINING", "LOW_SNR")])


@pytest.fixture(scope="session")
def catalogs(
    bundles: Callable[[str], Path],
    simulated: Callable[[str], SurveySpec],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], pa.Table]:
    """What a survey's own bundle says of the simulated survey, with the truth beside it; run once."""

    @cache
    def make(name: str) -> pa.Table:
        spec = simulated(name)
        return with_truth(labelled(spec, bundles(name), tmp_path_factory.mktemp(name)), spec)

    return make


@pytest.mark.parametrize("name", LESSONS)
def test_labels_of_new_stars_follow_the_truth(catalogs: Callable[[str], pa.Table], name: str) -> None:
    both = catalogs(name)
    follow(both, trusted(both), LIMITS)
    least, most = NO_SPECTRUM.get(name, (0, 0))
    assert least <= has(both, "NO_RESULT").sum() <= most
    assert (both["teff"].is_null().to_numpy() == has(both, "NO_RESULT")).all()
    assert not has(both, "UNCALIBRATED").any()
    assert has(both, "UNLIKE_TRAINING").mean() < 0.15


@pytest.mark.parametrize("name", LESSONS)
def test_positions_are_those_of_the_files_or_told_to_be_rough(
    catalogs: Callable[[str], pa.Table], name: str
) -> None:
    both = catalogs(name)
    assert (has(both, "POSITION_MISSING") == (name in WITHOUT_POSITION)).all()
    assert (has(both, "POSITION_APPROXIMATE") == (name in APPROXIMATE)).all()
    if name in WITHOUT_POSITION:
        assert both["ra"].null_count == len(both)
        return
    ra, dec, true_ra, true_dec = (both[c].to_numpy() for c in ("ra", "dec", "ra_true", "dec_true"))
    apart = np.hypot((ra - true_ra) * np.cos(np.radians(true_dec)), dec - true_dec)
    assert apart.max() < (FIFTY_ARCSEC if name in APPROXIMATE else 1e-5)


@pytest.mark.parametrize(
    ("learnt", "name"),
    [("apogee", "apogee_visit"), ("table", "giraffe")],
    ids=["coadds at rest, nights as observed", "a table at rest, barycentric FITS"],
)
def test_a_bundle_labels_another_survey_of_the_same_light(
    bundles: Callable[[str], Path],
    simulated: Callable[[str], SurveySpec],
    tmp_path: Path,
    learnt: str,
    name: str,
) -> None:
    """Another reader, format and frame: what is wrong in one of the two shows."""
    spec = simulated(name)
    both = with_truth(labelled(spec, bundles(learnt), tmp_path), spec)
    follow(both, trusted(both), LIMITS)


def test_sampled_spectra_and_those_that_gaiaxpy_samples_are_the_same_light(
    bundles: Callable[[str], Path], simulated: Callable[[str], SurveySpec], tmp_path: Path
) -> None:
    spec = simulated("gaia_xp")
    sampled = spec.model_copy(update={"name": "gaia_xp_sampled"})
    both = with_truth(labelled(sampled, bundles("gaia_xp_sampled"), tmp_path), sampled)
    # Each simulation has noise of its own: half of these are UNLIKE_TRAINING, and their labels follow still.
    follow(both, ~has(both, "NO_RESULT"), {"teff": (0.35, 0.9), "logg": (0.7, 0.6)})


def test_every_survey_is_learnt() -> None:
    assert set(LESSONS) == set(SIMULATORS) - {"desi"}


def test_examples_cover_every_survey_and_feed_their_models() -> None:
    """The bundles of jobs/infer/ are those that jobs/train/ would make."""
    lessons = [load(path, TrainSpec) for path in (JOBS / "train").glob("*.toml")]
    taught = {spec.bundle.out.name: MODELS[spec.model.name] for spec in lessons}
    asked = [load(path, RunSpec) for path in (JOBS / "infer").glob("*.toml")]
    assert {spec.survey.name for spec in asked} == set(SIMULATORS)
    for spec in lessons:
        _feeds(spec.survey, taught[spec.bundle.out.name], spec.auxiliary)
    for spec in asked:
        _feeds(spec.survey, taught[spec.model.bundle.name], spec.auxiliary)


def _feeds(spec: SurveySpec, model: Architecture, tables: Sequence[Auxiliary]) -> None:
    survey = survey_of(spec)
    joined = [name for table in tables for name in table.columns]
    handshake(model, spec.name, survey.spectrograph, survey.fills.union(joined))
