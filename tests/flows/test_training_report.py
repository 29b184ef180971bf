"""The report of a whole training: its ids join, the reference pipeline is drawn, gradients on request."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.image import imread

from engine.errors import InputError
from engine.models.bundle import load_card
from engine.models.model import load_model
from engine.simulate import simulate_desi
from engine.train import TrainReport
from engine.train.report import load_validation, summary
from engine.train.scalers import Scalers, inputs_of
from engine.train.spec import TrainSpec
from engine.train.store import load, open_store
from engine.types import Spectrograph
from jobs.bundle import show_bundle
from jobs.training import run_training
from jobs.training_report import add_gradients, report_place
from tests.flows.command import Abundant

KEYS = ["survey", "program", "healpix", "targetid"]
FLOORS = {"teff": 50.0, "logg": 0.1, "fe_h": 0.05, "mg_h": 0.05}
NAMES = [*FLOORS]
OFFSET, MISSING = 300.0, -9999.0


@dataclass(frozen=True)
class Told:
    """A finished training with its report, and the table that it learnt from."""

    plain: dict[str, Any]
    truth: pa.Table
    trained: TrainReport

    @property
    def folder(self) -> Path:
        return report_place(self.trained.bundle)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Another pipeline has temperatures that are 300 K too high, of two stars in three, and [Fe/H] of all."""
    root = tmp_path_factory.mktemp("told")
    truth = pq.read_table(simulate_desi(root / "survey", stars=420, seed=23, resolution=False))
    theirs = truth["teff"].to_numpy() + OFFSET
    theirs[np.arange(len(truth)) % 3 == 0] = MISSING
    fe_h = truth["fe_h"].to_numpy() - 0.2
    truth = truth.append_column("TEFF_RVS", pa.array(theirs)).append_column("FE_H_RVS", pa.array(fe_h))
    pq.write_table(truth, root / "labels.parquet")
    plain: dict[str, Any] = {
        "survey": {"name": "desi", "root": root / "survey"},
        "labels": {
            "path": root / "labels.parquet",
            "key": KEYS,
            "names": NAMES,
            "error_floor": FLOORS,
            "reference": {"teff": "TEFF_RVS", "fe_h": "FE_H_RVS + 0.0"},
            "reference_name": "RVS pipeline",
        },
        "split": {"validation": 0.15, "calibration": 0.15, "test": 0.3},
        "model": {"name": "desi_mlp_4", "hyper": {"hidden": [32, 16, 16, 8], "dropout": 0.05}},
        "training": {"epochs": 6, "batch": 32},
        "sampling": {"draws": 5},
        "bundle": {"out": root / "bundle", "name": "told"},
    }
    return Told(plain, truth, run_training(TrainSpec.model_validate(plain)))


def test_predictions_join_the_label_table_by_the_keys_of_the_survey(told: Told) -> None:
    found = pq.read_table(told.folder / "predictions.parquet")
    ids = found.column_names[: found.column_names.index("star") + 1]
    assert {*KEYS, "star"} <= {*ids} and not {"teff", "snr"} & {*ids}
    assert found["star"].null_count == 0
    assert found.schema.field("targetid").metadata[b"description"]
    truth = told.truth.select([*KEYS, "teff", "mg_h"]).rename_columns([*KEYS, "t", "m"])
    both = found.join(truth, KEYS, join_type="inner")
    assert len(both) == len(found) > 40
    for ours, theirs in (("teff_true", "t"), ("mg_h_true", "m")):
        np.testing.assert_array_equal(both[ours].to_numpy(), both[theirs].to_numpy())
    read = load_validation(told.folder / "predictions.parquet")
    assert read.ids is not None and read.ids.column_names == ids


def test_the_reference_pipeline_stands_above_the_network_of_the_stars_that_it_has(told: Told) -> None:
    read = load_validation(told.folder / "predictions.parquet")
    assert read.ids is not None and read.reference_NL is not None
    assert read.reference == "RVS pipeline"
    labels = {label.name: label for label in summary(read)}
    assert [name for name, label in labels.items() if label.versus] == ["teff", "fe_h"]
    theirs = told.truth.filter(pc.not_equal(told.truth["TEFF_RVS"], MISSING)).select(KEYS)
    expected = len(read.ids.join(theirs, KEYS, join_type="inner"))
    teff, fe_h = labels["teff"].versus, labels["fe_h"].versus
    assert teff is not None and fe_h is not None
    assert (teff.reference.stars, teff.network.stars) == (expected, expected)
    assert 0 < expected < len(read) == fe_h.reference.stars
    assert teff.reference.bias == pytest.approx(OFFSET, abs=0.01)
    assert fe_h.reference.bias == pytest.approx(-0.2, abs=1e-5)
    text = (told.folder / "report.html").read_text()
    assert "Against RVS pipeline" in text and "comparison-1.png" in text
    assert imread(told.folder / "comparison-1.png").shape[1] > 500


def networks_of(bundle: Path) -> Any:
    card = load_card(bundle)
    assert card.sampling is not None
    light = Spectrograph(arms=(), frame="rest", medium="vacuum")
    return load_model(bundle, keys=(), spectrograph=light, sampling=card.sampling)


def test_chi_square_of_test_stars_is_that_of_the_kept_weights_and_is_shown(told: Told) -> None:
    model, [network] = networks_of(told.trained.bundle)
    test = load(open_store(told.trained.bundle.with_name("bundle-stars"))).part("test")
    scale = model.labelling.scale
    scalers = Scalers(wanted=model.architecture.input, extras=(), inputs=model.input_scale, labels=scale)
    with torch.inference_mode():
        value_NL = network(torch.from_numpy(inputs_of(test, scalers).x_NI)).value_NL.numpy()
    sigma_NL = np.hypot(test.error_NL, np.array([*FLOORS.values()]))
    residual_NL = value_NL * scale.scale + scale.centre - test.label_NL
    by_hand = np.mean((residual_NL / sigma_NL)[test.known_NL] ** 2)
    lineage = load_card(told.trained.bundle).lineage
    assert lineage["test_chi2"] == pytest.approx(by_hand, rel=1e-4)
    epoch = lineage["members"][0]["epoch"]
    assert epoch == lineage["best_epoch"]
    assert (
        f"{by_hand:.3g}"[:3] in show_bundle(told.trained.bundle).partition("χ² per label of the test")[2][:40]
    )
    assert f"with the weights of epoch {epoch}" in show_bundle(told.trained.bundle)
    assert f"{by_hand:.3g}, with the weights of epoch {epoch}" in (told.folder / "report.html").read_text()


def test_gradients_join_the_report_on_request_and_a_second_time(told: Told, abundant: Abundant) -> None:
    before = {path.name: path.read_bytes() for path in told.folder.iterdir()}
    for _ in range(2):
        done = abundant("bundle", "gradients", told.trained.bundle)
        assert done.code == 0, done.err
    after = {path.name: path.read_bytes() for path in told.folder.iterdir()}
    assert after.keys() - before.keys() == {"gradients-1.png"}
    text = after["report.html"].decode()
    assert text.count("Where in the spectrum the labels are found") == text.count("<h2>Where") + 1 == 2
    assert "comparison-1.png" in text and "gradients-1.png" in text
    assert {n: c for n, c in after.items() if n in before and n != "report.html"} == {
        n: c for n, c in before.items() if n != "report.html"
    }


def test_gradients_are_those_of_the_bundle_at_its_mean_spectrum(told: Told) -> None:
    from engine.train.report import gradients_of

    model, networks = networks_of(told.trained.bundle)
    found = gradients_of(model, networks)
    stars = load(open_store(told.trained.bundle.with_name("bundle-stars"))).part("train")
    assert found.slope_LP.shape == (4, stars.flux_NP.shape[1])
    used_P = np.isfinite(model.input_scale.scale)
    mean_P = np.nanmean(np.where(stars.ivar_NP > 0, stars.flux_NP, np.nan)[:, used_P], axis=0)
    np.testing.assert_allclose(found.flux_P[used_P], mean_P, atol=0.1)
    assert np.abs(found.slope_LP).max(axis=1).min() > 0


def test_gradients_in_a_file_of_their_own(told: Told, abundant: Abundant, tmp_path: Path) -> None:
    file = tmp_path / "h.png"
    words = ("bundle", "gradients", told.trained.bundle, "--out", file)
    assert abundant(*words, "--within", 4800, 4900).code == 0
    assert imread(file).shape[1] > 1000
    again = abundant(*words)
    assert (again.code, "exists; choose another name" in again.err) == (2, True)
    for more, message in (
        (("--within", 4800, 4900), "give --out FILE.png"),
        (("--out", tmp_path / "x.png", "--within", 1, 2), "no pixel of the network lies within 1 to 2"),
        (("--out", tmp_path / "none" / "x.png"), "cannot be written"),
    ):
        refused = abundant(*words[:3], *more)
        assert (refused.code, message in refused.err) == (2, True), refused.err


def test_gradients_without_a_report_of_the_bundle_are_refused_with_the_remedy(
    told: Told, bundle: Path, abundant: Abundant, tmp_path: Path
) -> None:
    card, found = load_card(bundle), Any
    with pytest.raises(InputError, match=r"holds no report\.html: name a file of its own"):
        add_gradients(tmp_path, card, found)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is about other weights than those of random"):
        add_gradients(told.folder, card, found)  # type: ignore[arg-type]
    refused = abundant("bundle", "gradients", bundle)
    assert (refused.code, "Traceback" in refused.err) == (2, False)
    assert "train a network" in refused.err or "holds no report.html" in refused.err
