"""Giants made of a real model's spectra, as apStar files: what the reader gives is what was put in."""

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares

from engine.spec import SurveySpec
from engine.surveys.apogee import APOGEE
from engine.types import Task
from tests.cannon_giants import load_model, training_labels, write_giants

pytestmark = pytest.mark.realdata


def test_labels_of_cannon_giants_are_found_again_in_their_files(realdata: Path, tmp_path: Path) -> None:
    model = load_model(realdata)
    labels_NL = training_labels(realdata)[::100][:6]
    flux_NP = model(labels_NL)
    assert list(write_giants(tmp_path, flux_NP, snr=150, seed=1))
    spec = SurveySpec.model_validate({"name": "apogee", "root": str(tmp_path), "select": {"by": "all"}})
    [shard] = APOGEE.list_shards(spec)
    table = APOGEE.read(spec, Task(task_id="all", shard=shard, start=0, stop=shard.rows))
    order = np.argsort(table["apogee_id"].to_pylist())
    seen_NP, ivar_NP = (
        table[f"{kind}_apogee"].combine_chunks().to_numpy_ndarray()[order].astype(float)
        for kind in ("flux", "ivar")
    )
    for row, expected_L in enumerate(labels_NL):
        good_P = ivar_NP[row] > 0
        assert (good_P == np.isfinite(flux_NP[row])).all()
        found_L = fit(model, seen_NP[row], ivar_NP[row], good_P)
        assert np.abs(found_L - expected_L) == pytest.approx(np.zeros(4), abs=40)
        assert (np.abs(found_L - expected_L) < (25, 0.06, 0.03, 0.03)).all()


def fit(model, seen_P, ivar_P, good_P) -> np.ndarray:
    """Labels whose model, times a quadratic continuum, is nearest to a spectrum."""
    x_P = np.linspace(-1, 1, len(seen_P))
    scale = np.median(seen_P[good_P])

    def residuals(p: np.ndarray) -> np.ndarray:
        labels_NL = np.array([[4500 + 500 * p[0], 2 + p[1], -0.3 + p[2], 0.05 + p[3]]])
        continuum_P = scale * np.polyval(p[4:], x_P)
        return ((seen_P - model(labels_NL)[0] * continuum_P) * np.sqrt(ivar_P))[good_P]

    p = least_squares(residuals, [0, 0, 0, 0, 0, 0, 1.0]).x
    return np.array([4500 + 500 * p[0], 2 + p[1], -0.3 + p[2], 0.05 + p[3]])
