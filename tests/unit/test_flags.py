"""The registry, and every condition at, above and below its threshold, with NaN and NULL."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from engine.flags import BY_NAME, FLAGS, flag, names, task_failed
from engine.support import ABOVE, BELOW, NO_LABEL, TrainingSet, assess
from engine.types import Estimates, Extras, Flags, Inputs, Label, Limits, Normalised
from tests.inputs import draws_of

LABELS = tuple(
    Label(name=name, unit="", ucd="", description="", low=low, high=high)
    for name, low, high in (("teff", 4000.0, 6000.0), ("fe_h", -2.0, 0.5))
)
KNOWN = TrainingSet(limits=(Limits(name="phot_g_mean_mag", low=8.0, high=16.0),))
EXTRAS = ("coefficients", "phot_g_mean_mag", "parallax")
GOOD_ROW = {
    "ra": 10.0,
    "dec": -5.0,
    "object_type": "TGT",
    "spectype": "STAR",
    "instrument_status": 0,
    "rv": 12.0,
    "rv_warn": 0,
    "rv_check": 15.0,
}
TYPES = pa.schema(
    {"ra": pa.float64(), "dec": pa.float64(), "object_type": pa.string(), "spectype": pa.string()}
    | {"instrument_status": pa.int32(), "rv": pa.float32(), "rv_warn": pa.int32(), "rv_check": pa.float32()}
    | {"position_source": pa.string(), "read_problem": pa.string(), "auxiliary_missing": pa.int32()}
)


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """No condition divides by a value or overflows, whatever the value."""
    with np.errstate(all="raise"):
        yield


def flags_of(
    *,
    teff: float = 5000,
    fe_h: float = -0.5,
    usable: bool = True,
    known: tuple[bool, bool] | None = None,
    g_mag: float = 12.0,
    coefficient: float = 1.0,
    saturated: bool = False,
    lit: float = 0.9,
    good: float = 0.9,
    snr: float = 50,
    nonfinite: int = 0,
    spikes: int = 0,
    calibrated: bool = True,
    error: float = 0.1,
    unlike: bool = False,
    **row: object,
) -> Flags:
    """The flags of one star that differs from a good one as told."""
    one = lambda x, kind: np.array([x], kind)  # noqa: E731
    extras = Extras(
        names=EXTRAS,
        value_NE=one([coefficient, g_mag, 1.0], np.float32),
        saturated_N=one(saturated, bool),
    )
    spectra = Normalised(
        flux_NP=np.ones((1, 4), np.float32),
        ivar_NP=np.ones((1, 4), np.float32),
        snr_N=one(snr, np.float32),
        lit_fraction_N=one(lit, np.float32),
        good_fraction_N=one(good, np.float32),
        nonfinite_N=one(nonfinite, np.int32),
        spikes_N=one(spikes, np.int32),
    )
    inputs = Inputs(x_NI=spectra.flux_NP, usable_N=one(usable, bool), spectra=spectra, extras=extras)
    error_NL = np.full((1, 2), error, np.float32)
    estimates = Estimates(
        centre_NL=one([teff, fe_h], np.float32),
        model_NL=error_NL,
        noise_NL=None,
        total_NL=error_NL,
        known_NL=one(known or (usable, usable), bool),
        calibrated=calibrated,
    )
    nearby = assess(inputs, draws_of(np.zeros((1, 1, 2), np.float32)), estimates, labels=LABELS, known=KNOWN)
    support = replace(
        nearby, scores={"support_chi2": one(1, np.float32)}, beyond={"support_chi2": one(unlike, bool)}
    )
    table = pa.Table.from_pylist([GOOD_ROW | row], schema=TYPES)
    return flag(table, "observed", inputs=inputs, estimates=estimates, support=support)


def test_bits_are_unique_in_order_and_fit_a_signed_integer() -> None:
    assert [entry.bit for entry in FLAGS] == list(range(len(FLAGS)))
    assert len(BY_NAME) == len(FLAGS) <= 31
    assert all(entry.text and entry.name == entry.name.upper() for entry in FLAGS)


def test_published_bits_keep_their_meaning() -> None:
    """Append-only: this list may grow and never change."""
    published = [
        "NO_RESULT", "NO_GOOD_PIXELS", "FEW_GOOD_PIXELS", "TASK_FAILED", "INSTRUMENT_BAD",
        "NOT_A_TARGET", "NOT_A_STAR",
        "NO_VELOCITY", "VELOCITY_DOUBTFUL", "LOW_SNR", "OUTSIDE_TRAINING", "UNCALIBRATED",
        "NONFINITE_FLUX", "SPIKES",
        "NO_CONTINUUM", "POSITION_MISSING", "UNLIKE_TRAINING",
        "POSITION_APPROXIMATE", "FILE_UNREADABLE", "AUXILIARY_MISSING",
        "LABEL_MISSING", "INPUT_MISSING", "INPUT_OUTSIDE_TRAINING", "PARALLAX_SATURATED",
    ]  # fmt: skip
    assert [entry.name for entry in FLAGS[: len(published)]] == published


def test_a_good_star_has_no_flag() -> None:
    found = flags_of()
    assert (found.row_N[0], found.warn_N[0], found.bad_N[0]) == (0, False, False)
    assert found.sides == {"teff": 0, "fe_h": 0, "phot_g_mean_mag": 0}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"snr": 10.0}, []),
        ({"snr": 9.99}, ["LOW_SNR"]),
        ({"snr": np.nan}, ["LOW_SNR"]),
        ({"good": 0.5}, []),
        ({"good": 0.49}, ["FEW_GOOD_PIXELS"]),
        ({"good": 0.05, "usable": False}, ["NO_RESULT", "FEW_GOOD_PIXELS", "NO_CONTINUUM"]),
        (
            {"lit": 0.0, "good": 0.0, "snr": 0.0, "usable": False},
            ["NO_RESULT", "NO_GOOD_PIXELS", "FEW_GOOD_PIXELS", "LOW_SNR"],
        ),
        ({"good": 0.0, "usable": False}, ["NO_RESULT", "FEW_GOOD_PIXELS", "NO_CONTINUUM"]),
        ({"lit": 0.05, "good": 0.04, "usable": False}, ["NO_RESULT", "FEW_GOOD_PIXELS"]),
        ({"object_type": None}, []),
        ({"instrument_status": 1}, ["INSTRUMENT_BAD"]),
        ({"instrument_status": None}, []),
        ({"object_type": "SKY"}, ["NOT_A_TARGET"]),
        ({"object_type": ""}, ["NOT_A_TARGET"]),
        ({"spectype": "GALAXY"}, ["NOT_A_STAR"]),
        ({"spectype": None}, []),
        ({"rv": None}, ["NO_VELOCITY"]),
        ({"rv": 0.0}, []),
        ({"rv_warn": 4}, ["VELOCITY_DOUBTFUL"]),
        ({"rv": 115.0}, []),
        ({"rv": 115.1}, ["VELOCITY_DOUBTFUL"]),
        ({"rv": -300.0, "rv_check": None}, []),
        ({"teff": 4000.0}, []),
        ({"teff": 3999.0}, ["OUTSIDE_TRAINING"]),
        ({"teff": 6001.0}, ["OUTSIDE_TRAINING"]),
        ({"calibrated": False}, ["UNCALIBRATED"]),
        ({"nonfinite": 1}, ["NONFINITE_FLUX"]),
        ({"spikes": 19}, []),
        ({"spikes": 20}, ["SPIKES"]),
        ({"unlike": True}, ["UNLIKE_TRAINING"]),
        ({"ra": None}, ["POSITION_MISSING"]),
        ({"dec": np.nan}, ["POSITION_MISSING"]),
        ({"dec": -9999.0}, ["POSITION_MISSING"]),
        ({"position_source": "source_id"}, ["POSITION_APPROXIMATE"]),
        ({"position_source": "survey"}, []),
        ({"read_problem": "cut short"}, ["FILE_UNREADABLE"]),
        ({"auxiliary_missing": 0}, []),
        ({"auxiliary_missing": 1}, ["AUXILIARY_MISSING"]),
        ({"known": (True, False)}, ["LABEL_MISSING"]),
        ({"known": (False, True)}, ["LABEL_MISSING"]),
        ({"known": (True, True)}, []),
        ({"known": (False, False)}, ["NO_RESULT"]),
        ({"known": (True, False), "fe_h": np.nan}, ["LABEL_MISSING"]),
        ({"known": (True, False), "fe_h": 9.0}, ["LABEL_MISSING"]),
        ({"known": (False, True), "teff": 0.0, "fe_h": 0.6}, ["OUTSIDE_TRAINING", "LABEL_MISSING"]),
        ({"coefficient": np.nan, "usable": False}, ["NO_RESULT", "INPUT_MISSING"]),
        ({"g_mag": np.nan, "usable": False}, ["NO_RESULT", "INPUT_MISSING"]),
        ({"coefficient": 0.0}, []),
        ({"coefficient": -1e30}, []),
        ({"g_mag": 8.0}, []),
        ({"g_mag": 7.99}, ["INPUT_OUTSIDE_TRAINING"]),
        ({"g_mag": 16.0}, []),
        ({"g_mag": 16.01}, ["INPUT_OUTSIDE_TRAINING"]),
        ({"g_mag": 0.0}, ["INPUT_OUTSIDE_TRAINING"]),
        ({"g_mag": -5.0}, ["INPUT_OUTSIDE_TRAINING"]),
        ({"g_mag": np.inf}, ["INPUT_OUTSIDE_TRAINING"]),
        ({"saturated": True}, ["PARALLAX_SATURATED"]),
        ({"saturated": True, "usable": False}, ["NO_RESULT", "PARALLAX_SATURATED"]),
        ({"usable": False}, ["NO_RESULT"]),
    ],
)
def test_truth_table(change: dict[str, object], expected: list[str]) -> None:
    found = flags_of(**change)  # type: ignore[arg-type]
    assert names(int(found.row_N[0])) == expected
    severities = {BY_NAME[name].severity for name in expected}
    assert (bool(found.warn_N[0]), bool(found.bad_N[0])) == ("warn" in severities, "bad" in severities)


@pytest.mark.parametrize("error", [0.0, 0.1, 0.3, 5.0, np.inf])
@pytest.mark.parametrize("fe_h", [0.0, -0.0, 1e-30, -1.9])
def test_no_condition_is_relative_to_a_label(fe_h: float, error: float) -> None:
    """AstroNN's own flags are: a star of [Fe/H] = 0 is uncertain there at any error above 0.2."""
    assert flags_of(fe_h=fe_h, error=error).row_N[0] == 0


@pytest.mark.parametrize(
    ("teff", "usable", "bits"),
    [(3999, True, BELOW), (6001, True, ABOVE), (5000, True, 0), (3999, False, NO_LABEL)],
)
def test_labels_say_on_which_side_they_lie(teff: float, usable: bool, bits: int) -> None:
    sides = flags_of(teff=teff, usable=usable).sides
    assert (sides["teff"][0], sides["fe_h"][0]) == (bits, 0 if usable else NO_LABEL)


@pytest.mark.parametrize(("g_mag", "bits"), [(7, BELOW), (17, ABOVE), (12, 0), (np.nan, NO_LABEL)])
def test_limited_extras_say_on_which_side_they_lie(g_mag: float, bits: int) -> None:
    """Extras without limits have no column."""
    sides = flags_of(g_mag=g_mag).sides
    assert list(sides) == ["teff", "fe_h", "phot_g_mean_mag"]
    assert sides["phot_g_mean_mag"][0] == bits


def test_a_missing_label_says_so_in_its_own_column() -> None:
    sides = flags_of(known=(True, False), fe_h=9.0).sides
    assert (sides["teff"][0], sides["fe_h"][0]) == (0, NO_LABEL)


def test_bad_holds_rows_without_a_result() -> None:
    """AstroNN's own summary does not: `~flag_bad` keeps its empty rows."""
    assert flags_of(usable=False).bad_N[0]
    assert not flags_of(usable=False).warn_N[0]


def test_rows_of_a_failed_task_are_bad() -> None:
    found = task_failed(3, ["teff", "phot_g_mean_mag"])
    assert names(int(found.row_N[0])) == ["NO_RESULT", "TASK_FAILED"]
    assert found.bad_N.all()
    assert list(found.sides) == ["teff", "phot_g_mean_mag"]
    assert all((bits_N == NO_LABEL).all() and len(bits_N) == 3 for bits_N in found.sides.values())
