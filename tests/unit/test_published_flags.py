"""Flags under the authors' names: every threshold at, above and below, with zero, NaN and NULL."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from engine.columns import schema
from engine.draw import Host, bank_of
from engine.models import MODELS
from engine.models.architecture import Verdict
from engine.models.model import load_model
from engine.models.published_flags import BOUNDARY, judge_astronn, judge_astronn_dist, judge_rvs_hybrid
from engine.route import infer
from engine.spec import SurveySpec
from engine.support import ABOVE, BELOW, NO_LABEL
from engine.surveys import survey_of
from engine.types import Batch, Bits, Estimates, Limits, Task
from tests.bundles import write_bundle
from tests.conftest import SAMPLING

LOGG, TEFF, FE_H, NO_RESULT = 1, 2, 4, 2048
UNRELIABLE, PHOTOMETRY, EXTINCTION = 1, 2, 4
GOOD = {"teff": (5000.0, 50.0), "logg": (4.0, 0.05), "fe_h": (-0.5, 0.05)}
JUST_ABOVE = float(np.nextafter(np.float32(0.2), np.float32(1)))
PHOTOMETRY_SCHEMA = pa.schema({"tmass_ks": pa.float32(), "ebv": pa.float32()})


@pytest.fixture(autouse=True)
def no_warnings() -> Any:
    with np.errstate(all="raise", under="ignore"):
        yield


def estimates(
    values: Mapping[str, tuple[float, float]], *, known: bool = True, noise: float | None = None
) -> Estimates:
    """One star: by label a value and the spread of its draws; the calibrated errors are far larger."""
    centre, model = np.array(list(values.values()), np.float32).T[:, None, :]
    return Estimates(
        centre_NL=centre,
        model_NL=model,
        noise_NL=None if noise is None else np.full_like(model, noise),
        total_NL=np.full_like(model, 1e6),
        known_NL=np.full(centre.shape, known),
        calibrated=True,
    )


def verdict(
    found: Estimates | None,
    names: tuple[str, ...],
    spectra: pa.Table | None = None,
    sides: Mapping[str, Bits] | None = None,
) -> Verdict:
    table = pa.table({"id": [1]}) if spectra is None else spectra
    return Verdict(spectra=table, names=names, estimates=found, sides=sides or {})


def one(arrays: Mapping[str, pa.Array]) -> tuple[Any, ...]:
    return tuple(array.to_pylist()[0] for array in arrays.values())


def astronn(*, known: bool = True, noise: float | None = None, **change: tuple[float, float]) -> tuple:
    values = GOOD | change
    return one(judge_astronn(verdict(estimates(values, known=known, noise=noise), tuple(values))))


@pytest.mark.parametrize(
    ("change", "bits"),
    [
        ({}, 0),
        ({"teff": (5000, 300)}, 0),
        ({"teff": (5000, 300.1)}, TEFF),
        ({"teff": (0, 299)}, 0),
        ({"teff": (np.nan, 301)}, TEFF),
        ({"teff": (5000, np.nan)}, 0),
        # logg: above 0.2 AND above 0.075 of its value.
        ({"logg": (1.0, 0.2)}, 0),
        ({"logg": (1.0, JUST_ABOVE)}, LOGG),
        ({"logg": (4.0, 0.3)}, 0),
        ({"logg": (4.0, 0.3001)}, LOGG),
        ({"logg": (4.0, 0.29)}, 0),
        ({"logg": (0.0, 0.2)}, 0),
        ({"logg": (0.0, 0.21)}, LOGG),
        ({"logg": (-0.5, 0.21)}, LOGG),
        ({"logg": (-4.0, 0.21)}, 0),
        ({"logg": (np.nan, 0.5)}, 0),
        ({"logg": (1.0, np.nan)}, 0),
        ({"logg": (1.0, np.inf)}, LOGG),
        # [Fe/H]: above 0.2 AND above 0.12 of its absolute value.
        ({"fe_h": (-0.01, 0.2)}, 0),
        ({"fe_h": (-0.01, 0.05)}, 0),
        ({"fe_h": (-0.01, JUST_ABOVE)}, FE_H),
        ({"fe_h": (-2.0, 0.24)}, 0),
        ({"fe_h": (-2.0, 0.2401)}, FE_H),
        ({"fe_h": (-2.5, 0.29)}, 0),
        ({"fe_h": (0.0, 0.2)}, 0),
        ({"fe_h": (0.0, 0.21)}, FE_H),
        ({"fe_h": (0.0, 0.0)}, 0),
        ({"fe_h": (-0.0, 0.21)}, FE_H),
        ({"fe_h": (np.nan, 0.5)}, 0),
        ({"fe_h": (-0.5, np.nan)}, 0),
        ({"logg": (0.0, 1.0), "fe_h": (0.0, 1.0)}, LOGG | FE_H),
        ({"teff": (5000, 400), "logg": (0.0, 1.0), "fe_h": (0.0, 1.0)}, LOGG | TEFF | FE_H),
    ],
)
def test_astronn(change: dict[str, tuple[float, float]], bits: int) -> None:
    bad = bool(bits & TEFF) or bits & (LOGG | FE_H) == LOGG | FE_H
    assert astronn(**change) == (bits, bits > 0, bad)


def test_astronn_errors_are_raw_spread_and_noise_in_quadrature() -> None:
    assert astronn(noise=0.15, fe_h=(0.0, 0.1))[0] == 0
    assert astronn(noise=0.15, fe_h=(0.0, 0.15))[0] == FE_H


def test_astronn_rows_without_a_result_warn_and_are_not_bad_as_published() -> None:
    assert astronn(known=False, teff=(np.nan, 999.0)) == (NO_RESULT, True, False)
    assert one(judge_astronn(verdict(None, tuple(GOOD)))) == (NO_RESULT, True, False)


def test_a_label_that_the_bundle_does_not_give_sets_no_bit() -> None:
    assert one(judge_astronn(verdict(estimates({"teff": (5000, 400)}), ("teff",)))) == (TEFF, True, True)


def dist(
    f: tuple[float, float] = (40.0, 4.0),
    *,
    ks: float | None = 10.0,
    ebv: float | None = 0.1,
    known: bool = True,
) -> tuple:
    table = pa.Table.from_pylist([{"tmass_ks": ks, "ebv": ebv}], schema=PHOTOMETRY_SCHEMA)
    found = estimates({"fakemag": f}, known=known, noise=0.0)
    return one(judge_astronn_dist(verdict(found, ("fakemag", "dist"), table)))


@pytest.mark.parametrize(
    ("change", "bits"),
    [
        ({}, 0),
        ({"f": (40.0, 8.0)}, UNRELIABLE),
        ({"f": (40.0, 7.999)}, 0),
        ({"f": (0.0, 0.0)}, UNRELIABLE),
        ({"f": (-40.0, 1.0)}, UNRELIABLE),
        ({"f": (40.0, np.nan)}, 0),
        ({"ks": None}, PHOTOMETRY),
        ({"ks": np.nan}, PHOTOMETRY),
        ({"ks": np.inf}, PHOTOMETRY),
        ({"ks": 98.0}, PHOTOMETRY),
        ({"ks": 97.9}, 0),
        ({"ks": 99.99}, PHOTOMETRY),
        ({"ks": -1.0}, PHOTOMETRY),
        ({"ks": -0.99}, 0),
        ({"ks": 0.0}, 0),
        ({"ks": -9999.0}, PHOTOMETRY),
        ({"ebv": None}, EXTINCTION),
        ({"ebv": np.nan}, EXTINCTION),
        ({"ebv": -np.inf}, EXTINCTION),
        ({"ebv": 98.0}, EXTINCTION),
        ({"ebv": 97.9}, 0),
        ({"ebv": 0.0}, EXTINCTION),
        ({"ebv": 0.001}, 0),
        ({"ebv": -0.1}, EXTINCTION),
        ({"f": (1.0, 1.0), "ks": None, "ebv": None}, UNRELIABLE | PHOTOMETRY | EXTINCTION),
        ({"known": False}, NO_RESULT),
        ({"known": False, "ks": None}, NO_RESULT | PHOTOMETRY),
    ],
)
def test_astronn_dist(change: dict[str, Any], bits: int) -> None:
    """The warning is for missing extinction alone; rows without a result are bad here, unlike AstroNN's."""
    bad = bool(bits & (UNRELIABLE | PHOTOMETRY | NO_RESULT))
    assert dist(**change) == (bits, bool(bits & EXTINCTION), bad)


def test_astronn_dist_of_rows_that_could_not_be_read_needs_no_photometry() -> None:
    assert one(judge_astronn_dist(verdict(None, ("fakemag",)))) == (NO_RESULT, False, True)


def test_boundary_has_a_digit_for_each_quantity_in_its_order() -> None:
    found = estimates(dict.fromkeys(BOUNDARY[:5], (0.0, 0.1)))
    for place, name in enumerate(BOUNDARY):
        for bits, digit in ((0, "0"), (BELOW, "1"), (ABOVE, "1"), (NO_LABEL, "0")):
            sides = dict.fromkeys(BOUNDARY, np.zeros(1, np.int16)) | {name: np.array([bits], np.int16)}
            (text,) = one(judge_rvs_hybrid(verdict(found, BOUNDARY[:5], sides=sides)))
            assert text == "0" * place + digit + "0" * (6 - place)


def test_boundary_without_a_result_is_null_and_what_is_not_known_is_inside() -> None:
    names, values = BOUNDARY[:5], dict.fromkeys(BOUNDARY[:5], (0.0, 0.1))
    assert one(judge_rvs_hybrid(verdict(estimates(values, known=False), names))) == (None,)
    assert one(judge_rvs_hybrid(verdict(None, names))) == (None,)
    assert one(judge_rvs_hybrid(verdict(estimates(values), names))) == ("0000000",)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.published])
def test_columns_are_those_that_are_judged_in_their_types_under_the_system_s_name(name: str) -> None:
    published = MODELS[name].published
    assert published is not None
    judged = published.judge(verdict(None, MODELS[name].labels))
    assert [column.name for column in published.columns] == list(judged)
    assert [column.type for column in published.columns] == [array.type for array in judged.values()]
    assert all(column.name.startswith(f"{name}_") and column.description for column in published.columns)


def test_three_systems_publish_flags() -> None:
    assert {name for name, model in MODELS.items() if model.published} == {
        "astronn",
        "astronn_dist",
        "rvs_hybrid",
    }


@pytest.mark.parametrize(("architecture", "survey_name"), [("astronn", "apogee"), ("rvs_hybrid", "gaia_rvs")])
def test_they_stand_in_the_rows_of_a_catalog(
    architecture: str, survey_name: str, simulated: Callable[[str], SurveySpec], tmp_path: Path
) -> None:
    """Those of AstroNNDist: test_distance.py."""
    spec = simulated(survey_name)
    survey = survey_of(spec)
    shard = max(survey.list_shards(spec), key=lambda shard: shard.rows)
    task = Task(task_id="one", shard=shard, start=0, stop=min(12, shard.rows))
    spectra = survey.read(spec, task)
    bundle = write_bundle(tmp_path / "bundle", sampling=SAMPLING, architecture=architecture)
    model, networks = load_model(
        bundle, keys=survey.keys, spectrograph=survey.spectrograph, sampling=SAMPLING
    )
    if architecture == "rvs_hybrid":
        spectra = _with_extras(spectra)
        limits = tuple(Limits(name=limit.name, low=-1.0, high=1.0) for limit in model.known.limits)
        model = replace(model, known=replace(model.known, limits=limits))
    banks = [bank_of(network, SAMPLING, torch.device("cpu")) for network in networks]
    rows = infer(Batch(task=task, spectra=spectra), model, Host(banks))
    lost = np.array(rows["teff"].is_null())
    assert rows.schema.equals(schema(model.columns), check_metadata=True)
    if architecture == "astronn":
        assert np.array_equal(rows["astronn_result_flags"].to_numpy() & 2048 != 0, lost)
        return
    digits = rows["rvs_hybrid_flag_boundary"].to_pylist()
    assert [text is None for text in digits] == lost.tolist()
    names = ("teff", "logg", "m_h", "alpha_m", "fe_h", "phot_g_mean_mag", "parallax")
    for row, text in enumerate(digits):
        if text is not None:
            outside = [rows[f"flag_{name}"][row].as_py() & 3 != 0 for name in names]
            assert text == "".join("1" if one else "0" for one in outside)
    # G is 12, the parallax 0.5.
    assert {text[5] for text in digits if text} == {"1"}
    assert {text[6] for text in digits if text} == {"0"}


def _with_extras(spectra: pa.Table) -> pa.Table:
    rows = len(spectra)
    for name in ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag", "parallax"):
        value = pa.array(np.full(rows, 0.5 if name == "parallax" else 12.0, np.float32))
        spectra = spectra.set_column(spectra.column_names.index(name), name, value)
    for name in ("bp_coefficients", "rp_coefficients"):
        array = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ones((rows, 55), np.float32))
        spectra = spectra.append_column(name, array)
    return spectra
