"""The registry, and every condition at, above and below its threshold, with NaN and NULL."""

import numpy as np
import pyarrow as pa
import pytest

from engine.flags import BY_NAME, FLAGS, flag, names, task_failed
from engine.support import ABOVE, BELOW, NO_LABEL, label_bits
from engine.types import Estimates, Flags, Inputs, Label, Normalised, Support

LABELS = (Label(name="teff", unit="K", ucd="", description="", low=4000.0, high=6000.0),)
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


def flags_of(
    *,
    teff: float = 5000,
    usable: bool = True,
    lit: float = 0.9,
    good: float = 0.9,
    snr: float = 50,
    nonfinite: int = 0,
    spikes: int = 0,
    calibrated: bool = True,
    unlike: bool = False,
    **row: object,
) -> Flags:
    """The flags of one star that differs from a good one as told."""
    one = lambda x, kind: np.array([x], kind)  # noqa: E731
    spectra = Normalised(
        flux_NP=np.ones((1, 4), np.float32),
        ivar_NP=np.ones((1, 4), np.float32),
        snr_N=one(snr, np.float32),
        lit_fraction_N=one(lit, np.float32),
        good_fraction_N=one(good, np.float32),
        nonfinite_N=one(nonfinite, np.int32),
        spikes_N=one(spikes, np.int32),
    )
    inputs = Inputs(x_NP=spectra.flux_NP, usable_N=one(usable, bool), spectra=spectra)
    centre = np.array([[teff]], np.float32)
    estimates = Estimates(
        centre_NL=centre,
        model_NL=centre,
        noise_NL=None,
        total_NL=centre,
        usable_N=inputs.usable_N,
        calibrated=calibrated,
    )
    support = Support(
        label_NL=label_bits(estimates, LABELS), chi2_N=one(1, np.float32), unlike_N=one(unlike, bool)
    )
    spectra = pa.Table.from_pylist([GOOD_ROW | row], schema=TYPES)
    return flag(spectra, "observed", inputs=inputs, estimates=estimates, support=support)


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
    ]  # fmt: skip
    assert [entry.name for entry in FLAGS[: len(published)]] == published


def test_a_good_star_has_no_flag() -> None:
    found = flags_of()
    assert (found.row_N[0], found.warn_N[0], found.bad_N[0], found.label_NL[0, 0]) == (0, False, False, 0)


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
    ],
)
def test_truth_table(change: dict[str, object], expected: list[str]) -> None:
    found = flags_of(**change)  # type: ignore[arg-type]
    assert names(int(found.row_N[0])) == expected
    severities = {BY_NAME[name].severity for name in expected}
    assert (bool(found.warn_N[0]), bool(found.bad_N[0])) == ("warn" in severities, "bad" in severities)


@pytest.mark.parametrize(
    ("teff", "usable", "bits"),
    [(3999, True, BELOW), (6001, True, ABOVE), (5000, True, 0), (3999, False, NO_LABEL)],
)
def test_labels_say_on_which_side_they_lie(teff: float, usable: bool, bits: int) -> None:
    assert flags_of(teff=teff, usable=usable).label_NL[0, 0] == bits


def test_rows_of_a_failed_task_are_bad() -> None:
    found = task_failed(3, 2)
    assert names(int(found.row_N[0])) == ["NO_RESULT", "TASK_FAILED"]
    assert found.bad_N.all()
    assert (found.label_NL == NO_LABEL).all()
