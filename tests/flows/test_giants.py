"""AstroNN learns giants with real lines, of which many lack labels; its errors grow as S/N falls."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from engine.errors import PlanError
from engine.models.astronn import LABELS
from engine.train import train
from engine.train.spec import TrainSpec
from tests.cannon_giants import CannonModel, load_model, training_labels
from tests.flows.catalogs import has
from tests.flows.small_bundles import labelled
from tests.giants import LACKING, Giants, draw_giants, is_inside, training, write_labels, write_spectra

pytestmark = pytest.mark.realdata

FAINT, BRIGHT = 25.0, 250.0
LEARNT, ASKED, DRAWS = 2_000, 300, 10


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """The same weights whatever the machine's cores."""
    torch.set_num_threads(1)


def of_two_kinds(giants: Giants) -> Giants:
    """Every other giant faint, the rest bright: few stars must show what S/N does."""
    return replace(giants, snr_N=np.where(np.arange(len(giants)) % 2 == 0, FAINT, BRIGHT))


def lesson(
    folder: Path, model: CannonModel, giants: Giants, *, lacking_share: float, **settings: Any
) -> TrainSpec:
    """A short training: little dropout, many calibration stars; those tell how errors go with S/N."""
    spectra = write_spectra(folder / "learn", giants, model, seed=2)
    labels = write_labels(folder / "labels.parquet", giants, lacking_share=lacking_share, seed=3)
    hyper = {"hidden": (64, 32), "dropout": 0.05}
    plain = training(spectra, labels, folder / "bundle", hyper=hyper, draws=DRAWS, **settings)
    plain["split"] = {"validation": 0.05, "calibration": 0.4, "test": 0.06}
    return TrainSpec.model_validate(plain)


def test_errors_grow_as_snr_falls_and_missing_labels_break_nothing(realdata: Path, tmp_path: Path) -> None:
    model, known_NL = load_model(realdata), training_labels(realdata)
    inside_NL = known_NL[is_inside(known_NL)]
    giants = of_two_kinds(draw_giants(inside_NL, LEARNT, first_id=1, seed=1))
    settings = {"epochs": 8, "batch": 16, "learning_rate": 1e-3}
    spec = lesson(tmp_path, model, giants, lacking_share=0.5, **settings)
    report = train(spec, on_shard=Mock(), on_epoch=Mock())
    assert report.counts["with_labels"] == LEARNT, "a star that lacks labels stays"
    arrays = load_file(report.bundle / "model.safetensors")
    heads = [name for name in arrays if name.startswith("network.0.heads.")]
    assert {name.split(".")[3] for name in heads} >= {name.removesuffix("_h") for name in LACKING}
    assert all(np.isfinite(array).all() for name, array in arrays.items() if name.startswith("network."))

    asked = of_two_kinds(draw_giants(inside_NL, ASKED, first_id=10**6, seed=4))
    spectra = write_spectra(tmp_path / "ask", asked, model, seed=5)
    rows = labelled(spectra, report.bundle, tmp_path / "catalogs", sampling={"draws": DRAWS}).sort_by("id")
    assert rows["id"].to_pylist() == asked.id_N.tolist()
    assert not has(rows, "NO_RESULT", "LABEL_MISSING", "UNCALIBRATED").any()
    assert all(np.isfinite(rows[name].to_numpy()).all() for name in LABELS)
    # Of AstroNN's 7514 pixels the Cannon lacks 300.
    assert rows["good_fraction"].to_numpy() == pytest.approx(np.full(ASKED, 7214 / 7514), abs=1e-5)
    faint_N, truth = asked.snr_N == FAINT, asked.truth()
    # So short a training leaves Teff and log g errors of its own that hide the noise.
    error_N, residual_N = rows["e_fe_h"].to_numpy(), np.abs(rows["fe_h"].to_numpy() - truth["fe_h"])
    assert np.median(error_N[faint_N]) > 1.1 * np.median(error_N[~faint_N])
    assert np.median(residual_N[faint_N]) > np.median(residual_N[~faint_N])
    assert np.mean(residual_N <= error_N) == pytest.approx(0.683, abs=0.15)


def test_a_label_that_no_giant_has_is_refused_by_name(realdata: Path, tmp_path: Path) -> None:
    model, known_NL = load_model(realdata), training_labels(realdata)
    giants = draw_giants(known_NL[is_inside(known_NL)], 600, first_id=1, seed=1)
    spec = lesson(tmp_path, model, giants, lacking_share=0.0, epochs=1, batch=16)
    with pytest.raises(PlanError, match=r"fewer than 20 stars have these labels:\n  c_h: 0 for train"):
        train(spec, on_shard=Mock(), on_epoch=Mock())
