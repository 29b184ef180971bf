"""The published networks of Guiglion et al. (2020) as one bundle: weights, limits, errors, and a run.

What they compute is compared with numpy on the arrays of the HDF5 files, as their names are stored there.
"""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import csv

from catalogs import open_catalog, verify
from engine.models import MODELS
from engine.models.bundle import load_card, load_weights
from engine.models.card import Card
from engine.models.model import load_model
from engine.plan import make_plan
from engine.spec import Profile, RunSpec, Sampling, SurveySpec
from engine.surveys import SURVEYS, survey_of
from engine.types import Task
from jobs.importing import Tables, run_import
from jobs.run import run
from tests.flows.catalogs import has
from tests.keras_files import convolved, leaky

pytestmark = pytest.mark.realdata

MODEL = MODELS["rave_cnn_2020"]
NAMES = ("Teff", "logg", "MH", "FeH", "AlphaM", "SiFe", "AlFe", "MgFe", "NiFe")
MAGNITUDES = ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag")
MAGNITUDES += ("Jmag_2MASS", "Hmag_2MASS", "Kmag_2MASS", "wise1", "wise2")
# Ranges of the 3,669 training stars, as counted from y_train when this test was written.
RANGES = (
    *((3658.9, 7286.5), (0.243, 4.932), (-1.967, 0.506), (-1.944, 0.475), (-0.141, 0.421)),
    *((-0.374, 0.633), (-0.683, 0.805), (-0.376, 0.567), (-0.616, 0.303)),
)
# Standard deviation of residuals, and median published error, of the 235 test stars.
ERRORS = (
    *((93.7, 39.1), (0.132, 0.029), (0.087, 0.030), (0.089, 0.023), (0.050, 0.007)),
    *((0.058, 0.010), (0.087, 0.011), (0.083, 0.011), (0.045, 0.007)),
)


@pytest.fixture(scope="module")
def rave(realdata: Path) -> Path:
    return realdata / "rave"


@pytest.fixture(scope="module")
def networks(rave: Path) -> tuple[Path, ...]:
    return tuple(sorted(rave.glob("model_version_1_*.h5")))


@pytest.fixture(scope="module")
def bundle(rave: Path, networks: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The five networks, with errors calibrated on the published predictions, which are of two networks."""
    tables = Tables(
        labels=rave / "y_train_cnn_version_1_True.csv",
        parameters=rave / "training_sample_parameters.csv",
        stars=rave / "training_sample_labels.csv",
        predictions=rave / "res_test_cnn_version_1_True.csv",
        truth=rave / "y_test_cnn_version_1_True.csv",
        predicted_by=2,
    )
    out = tmp_path_factory.mktemp("rave") / "bundle"
    run_import("keras", networks, model=MODEL.name, out=out, tables=tables, name="rave", licence="MIT")
    return out


@pytest.fixture(scope="module")
def card(bundle: Path) -> Card:
    return load_card(bundle)


def forward(path: Path, flux_NP: np.ndarray, extra_NE: np.ndarray) -> np.ndarray:
    """The published network in float64, by the arrays of its file."""
    with h5py.File(path) as file:
        group = file["model_weights"]
        dense = sorted(
            (n for n in group if n.startswith("dense")), key=lambda n: int(n.partition("_")[2] or 0)
        )
        convolutions, layers = (
            [(group[f"{n}/{n}/kernel:0"][()], group[f"{n}/{n}/bias:0"][()].astype(float)) for n in names]
            for names in (("convol_1", "convol_2", "convol_3"), dense)
        )
    x_NPC = flux_NP[:, :, None].astype(float)
    for kernel, bias in convolutions:
        x_NPC = leaky(convolved(x_NPC, kernel, bias))
    (a, b), (c, d), (e, f), (g, h) = layers
    both = np.hstack([leaky(x_NPC.reshape(len(flux_NP), -1) @ a + b), leaky(extra_NE @ c + d)])
    return leaky(both @ e + f) @ g + h


def training_extras(rave: Path) -> np.ndarray:
    """Nine numbers of each training star, from 0 to 1 over all of them: what the authors' notebook makes."""
    stars = csv.read_csv(rave / "training_sample_labels.csv")["RAVE_OBS_ID"].to_pylist()
    trained = set(csv.read_csv(rave / "y_train_cnn_version_1_True.csv")["RAVE_OBS_ID"].to_pylist())
    table = csv.read_csv(rave / "training_sample_parameters.csv").to_pandas()
    table = table[[star in trained for star in stars]]
    distance = 5 * (np.log10(np.clip(table["parallax"].to_numpy() / 1000, 1e-4, 6.8e8)) + 1)
    extra_NE = np.column_stack([*(table[name] + distance for name in MAGNITUDES), table["av50"]])
    return (extra_NE - extra_NE.min(axis=0)) / (extra_NE.max(axis=0) - extra_NE.min(axis=0))


def test_five_networks_with_the_published_number_of_parameters(bundle: Path, card: Card) -> None:
    arrays = load_weights(bundle, card)
    assert card.members == 5
    for member in range(5):
        assert sum(a.size for name, a in arrays.items() if name.startswith(f"network.{member}.")) == 58_549


def test_networks_compute_what_the_files_say(bundle: Path, networks: tuple[Path, ...], rave: Path) -> None:
    survey, rng = SURVEYS["rave"], np.random.default_rng(1)
    _, ours = load_model(
        bundle, keys=survey.keys, spectrograph=survey.spectrograph, sampling=Sampling(draws=0)
    )
    extra_NE = rng.permutation(training_extras(rave))[:64]
    flux_NP = np.clip(1 - 0.3 * rng.gamma(0.3, size=(64, 912)), 0, 1.2)
    x_NI = torch.from_numpy(np.hstack([flux_NP, extra_NE]).astype(np.float32))
    for path, network in zip(networks, ours, strict=True):
        found = network(x_NI).value_NL.numpy()
        np.testing.assert_allclose(found, forward(path, flux_NP, extra_NE), rtol=0, atol=1e-5)


def test_limits_are_those_of_the_training_stars(bundle: Path, card: Card, rave: Path) -> None:
    for label, (low, high) in zip(card.labels, RANGES, strict=True):
        decimals = 1 if label.name == "teff" else 3
        assert (round(label.low or 0, decimals), round(label.high or 0, decimals)) == (low, high), label.name
    arrays = load_weights(bundle, card)
    train = csv.read_csv(rave / "y_train_cnn_version_1_True.csv").to_pandas()[list(NAMES)].to_numpy()
    np.testing.assert_allclose(arrays["label.centre"], train.min(axis=0), rtol=1e-6)
    np.testing.assert_allclose(arrays["label.scale"], np.ptp(train, axis=0), rtol=1e-6)
    assert not arrays["input.centre"][:912].any()
    assert (arrays["input.scale"][:912] == 1).all()
    assert [limit.name for limit in card.limits] == [extra.name for extra in MODEL.extras]


def test_extras_of_training_stars_are_scaled_as_in_the_notebook(bundle: Path, card: Card, rave: Path) -> None:
    arrays = load_weights(bundle, card)
    table = csv.read_csv(rave / "training_sample_parameters.csv")
    given = pa.table(dict(zip(MODEL.needs, table.columns, strict=True)))
    ours = (MODEL.beside(given).value_NE - arrays["input.centre"][912:]) / arrays["input.scale"][912:]
    stars = csv.read_csv(rave / "training_sample_labels.csv")["RAVE_OBS_ID"].to_pylist()
    trained = set(csv.read_csv(rave / "y_train_cnn_version_1_True.csv")["RAVE_OBS_ID"].to_pylist())
    np.testing.assert_allclose(ours[[star in trained for star in stars]], training_extras(rave), atol=1e-6)


def published(rave: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residuals, errors and predictions of the test stars, (235, 9), as published."""
    found = csv.read_csv(rave / "res_test_cnn_version_1_True.csv").to_pandas()
    truth = csv.read_csv(rave / "y_test_cnn_version_1_True.csv").to_pandas()
    assert (found["RAVE_OBS_ID"] == truth["RAVE_OBS_ID"]).all()
    value = found[list(NAMES)].to_numpy()
    return value - truth[list(NAMES)].to_numpy(), found[[f"e{n}" for n in NAMES]].to_numpy(), value


def test_published_errors_are_too_small_and_calibrated_ones_are_not(card: Card, rave: Path) -> None:
    residual_NL, error_NL, _ = published(rave)
    for i, (label, (scatter, median)) in enumerate(zip(card.labels, ERRORS, strict=True)):
        decimals = 1 if label.name == "teff" else 3
        assert round(float(residual_NL[:, i].std()), decimals) == pytest.approx(
            scatter, abs=1.01 * 10**-decimals
        )
        assert round(float(np.median(error_NL[:, i])), decimals) == pytest.approx(
            median, abs=1.01 * 10**-decimals
        )
        assert label.calibration is not None
        # Five networks scatter more than two, by this much in the mean square.
        raw_N = error_NL[:, i] * np.sqrt((4 / 5) / (1 / 2))
        total_N = np.hypot(label.calibration.scale[0] * raw_N, label.calibration.floor[0])
        within = [np.mean(np.abs(residual_NL[:, i]) <= error_N) for error_N in (error_NL[:, i], total_N)]
        assert within[0] < 0.4
        assert within[1] == pytest.approx(0.683, abs=0.02)


def test_the_published_predictions_are_those_of_two_networks(rave: Path) -> None:
    """Of two numbers mean + scatter and mean - scatter are the numbers: float32, as networks give them."""
    _, error_NL, value_NL = published(rave)
    for member_NL in (value_NL + error_NL, value_NL - error_NL):
        np.testing.assert_allclose(member_NL, member_NL.astype(np.float32), rtol=1e-12, atol=1e-12)


@pytest.fixture
def photometry(simulated: Callable[[str], SurveySpec], rave: Path, tmp_path: Path) -> Path:
    """For each simulated star what is known of some training star beside its spectrum; one lacks J."""
    ids = pq.read_table(Path(simulated("rave").root) / "truth.parquet")["rave_obs_id"]
    table = csv.read_csv(rave / "training_sample_parameters.csv").slice(0, len(ids))
    missing = table["Jmag_2MASS"].to_pylist()
    missing[0] = None
    table = table.set_column(4, "Jmag_2MASS", pa.array(missing)).append_column("rave_obs_id", ids)
    pq.write_table(table, tmp_path / "photometry.parquet")
    return tmp_path / "photometry.parquet"


@pytest.fixture
def spec(bundle: Path, photometry: Path, simulated: Callable[[str], SurveySpec], tmp_path: Path) -> RunSpec:
    theirs = ("parallax", *MAGNITUDES, "av50")
    section = {"path": photometry, "key": "rave_obs_id", "match": "rave_obs_id"}
    return RunSpec.model_validate(
        {
            "survey": simulated("rave"),
            "auxiliary": [section | {"columns": dict(zip(MODEL.needs, theirs, strict=True))}],
            "model": {"bundle": bundle},
            "catalog": {"name": "rave", "version": "1", "root": tmp_path / "catalogs"},
        }
    )


def test_a_run_labels_a_survey_with_the_published_networks(spec: RunSpec, networks: tuple[Path, ...]) -> None:
    """The catalog is the mean of the five files' own predictions, with calibrated errors."""
    report = run(make_plan(spec), Profile(runtime="local"))
    rows = open_catalog(report.catalog).to_arrow().sort_by("rave_obs_id")
    assert verify(report.catalog).rows == len(rows)
    given = rows["tmass_j"].is_valid().to_numpy(zero_copy_only=False)
    assert (~given).sum() == 1
    assert (has(rows, "NO_RESULT") == ~given).all()
    assert not has(rows, "UNCALIBRATED").any()
    inputs_NI = prepared(spec, rows)
    found_KNL = np.stack([forward(path, inputs_NI[:, :912], inputs_NI[:, 912:]) for path in networks])
    card = load_card(spec.model.bundle)
    for i, label in enumerate(card.labels):
        low, high = label.low or 0.0, label.high or 0.0
        values_KN = found_KNL[:, given, i] * (high - low) + low
        ours_N, errors_N = (rows[name].to_numpy()[given] for name in (label.name, f"e_{label.name}"))
        np.testing.assert_allclose(ours_N, values_KN.mean(axis=0), rtol=0, atol=2e-5 * (high - low))
        assert label.calibration is not None
        raw_N = label.calibration.scale[0] * values_KN.std(axis=0)
        np.testing.assert_allclose(errors_N, np.hypot(raw_N, label.calibration.floor[0]), rtol=1e-3)


def prepared(spec: RunSpec, rows: pa.Table) -> np.ndarray:
    """What the networks see of the stars of `rows`: pixels by the engine, extras by the catalog."""
    survey = survey_of(spec.survey)
    parts = []
    for shard in survey.list_shards(spec.survey):
        task = Task(task_id="all", shard=shard, start=0, stop=shard.rows)
        spectra = survey.read(spec.survey, task)
        flux_NP = MODEL.normalise(spectra, survey.spectrograph, MODEL.input).flux_NP
        parts += list(zip(spectra["rave_obs_id"].to_pylist(), flux_NP, strict=True))
    flux = dict(parts)
    flux_NP = np.stack([flux[star] for star in rows["rave_obs_id"].to_pylist()])
    limits = load_card(spec.model.bundle).limits
    distance_N = 5 * (np.log10(np.maximum(rows["parallax"].to_numpy(), 0.1) / 1000) + 1)
    columns = [rows[name].to_numpy() + distance_N for name in MODEL.needs[1:-1]]
    extras = [*columns, rows["a_v"].to_numpy()]
    scaled = [(x_N - limit.low) / (limit.high - limit.low) for x_N, limit in zip(extras, limits, strict=True)]
    return np.hstack([flux_NP, np.column_stack(scaled)])
