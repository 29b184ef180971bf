"""Whether the stars can teach each label is known before the first epoch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.errors import PlanError
from engine.train.checks import check_stars
from engine.train.dataset import PARTS, LabelledSpectra
from engine.train.spec import TrainSpec
from engine.train.validate import derived_labels

NAMES = ["teff", "mg_h", "fe_h"]


def spec(**changes: Any) -> TrainSpec:
    plain = {
        "survey": {"name": "desi", "root": Path("survey")},
        "labels": {"path": Path("labels.parquet"), "key": ["targetid"], "names": NAMES},
        "model": {"name": "desi_mlp_4"},
        "training": {"batch": 64},
        "bundle": {"out": Path("bundle"), "name": "b"},
    }
    return TrainSpec.model_validate(plain | changes)


def stars(per_part: int = 100) -> LabelledSpectra:
    rows = per_part * len(PARTS)
    label_NL = np.random.default_rng(0).normal(size=(rows, 3)).astype(np.float32)
    nothing = np.zeros((rows, 5), np.float32)
    return LabelledSpectra(
        flux_NP=nothing,
        ivar_NP=nothing,
        snr_N=np.full(rows, 50, np.float32),
        extra_NE=nothing[:, :0],
        label_NL=label_NL,
        error_NL=np.zeros_like(label_NL),
        known_NL=np.ones_like(label_NL, bool),
        part_N=np.repeat(np.arange(len(PARTS)), per_part),
    )


def test_enough_stars_pass() -> None:
    check_stars(spec(), stars())


def test_few_stars_are_refused_with_the_counts_of_every_part() -> None:
    few = stars()
    few.known_NL[205:300, 1] = False
    few.known_NL[:, 0] = False
    message = (
        r"teff: 0 for train, 0 for validation, 0 for calibration, 0 for test\n"
        r"  mg_h: 100 for train, 100 for validation, 5 for calibration, 100 for test\n"
        r"  mg_fe: 100 for train, 100 for validation, 5 for calibration, 100 for test\n"
    )
    with pytest.raises(PlanError, match=message):
        check_stars(spec(), few)
    with pytest.raises(PlanError, match="60 training stars are fewer than one batch of 64"):
        check_stars(spec(), stars(60))


def test_a_derived_label_that_no_star_has_is_found_too() -> None:
    halves = stars()
    halves.known_NL[::2, 1] = False
    halves.known_NL[1::2, 2] = False
    with pytest.raises(PlanError, match=r"labels:\n  mg_fe: 0 for train"):
        check_stars(spec(), halves)


@pytest.mark.parametrize(("column", "name"), [(0, "teff"), (1, "mg_fe")])
def test_a_constant_label_is_refused(column: int, name: str) -> None:
    constant = stars()
    constant.label_NL[:100, column] = constant.label_NL[:100, 2] if column else 5000
    with pytest.raises(PlanError, match=f"label {name} is .* for each of the 100 training stars"):
        check_stars(spec(), constant)


def test_a_ratio_that_is_a_label_itself_is_not_derived_again() -> None:
    assert [item.name for item in derived_labels(["fe_h", "mg_h", "si_h", "mg_fe"])] == ["si_fe"]
