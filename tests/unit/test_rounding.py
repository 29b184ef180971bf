"""Rounded catalogs: nothing moves by more than is said, and what is not a number stays none."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogs import open_catalog
from engine.errors import PlanError
from engine.plan import make_plan
from engine.rounding import BITS, STEPS, in_steps, to_bits
from engine.spec import Profile, RunSpec
from jobs.run import run

LOCAL = Profile(runtime="local")
FLOATS = st.floats(-1e6, 1e6, width=32)


@given(FLOATS, st.floats(2**-20, 1e4, width=32))
def test_a_label_moves_by_half_a_step_at_most_and_not_again(value: float, error: float) -> None:
    value_N, error_N = np.float32([value]), np.float32([error])
    found_N = in_steps(value_N, error_N)
    # Beyond float32's own digits there is nothing to round.
    assert abs(found_N[0] - value_N[0]) <= max(error_N[0] / STEPS / 2, np.spacing(abs(value_N[0])))
    np.testing.assert_array_equal(in_steps(found_N, error_N), found_N)


@given(FLOATS)
def test_an_error_keeps_its_leading_bits_and_not_again(value: float) -> None:
    value_N = np.float32([value])
    found_N = to_bits(value_N)
    assert abs(found_N[0] - value_N[0]) <= abs(value_N[0]) / 2**BITS + np.finfo(np.float32).tiny
    np.testing.assert_array_equal(to_bits(found_N), found_N)


def test_what_has_no_number_or_no_error_stays_as_it_is() -> None:
    value_N = np.float32([np.nan, 1.23456789, 1.23456789, np.inf, 1.23456789])
    error_N = np.float32([1, np.nan, 0, 1, -1])
    np.testing.assert_array_equal(in_steps(value_N, error_N), value_N)
    np.testing.assert_array_equal(to_bits(np.float32([np.nan, np.inf, 0])), [np.nan, np.inf, 0])


def test_a_rounded_catalog_differs_in_its_last_bits_alone_and_says_so(
    run_spec: Callable[..., RunSpec],
) -> None:
    exact, rounded = (
        run(make_plan(run_spec(catalog={"version": version, "rounded": version == "rounded"})), LOCAL)
        for version in ("exact", "rounded")
    )
    one, other = (open_catalog(report.catalog).to_arrow() for report in (exact, rounded))
    assert one.column_names == other.column_names
    moved = {name for name in one.column_names if one[name] != other[name]}
    assert {"teff", "e_teff", "e_teff_model"} <= moved
    assert not {"ra", "dec", "snr", "rv", "targetid", "flags"} & moved
    off_N, error_N = (
        np.abs(_numbers(one, "teff") - _numbers(other, "teff")),
        _numbers(one, "e_teff"),
    )
    assert (off_N <= error_N / STEPS / 2)[np.isfinite(off_N)].all()
    for name in ("teff", "e_teff_model", "wiggle"):
        assert b"rounded to" in other.schema.field(name).metadata[b"description"]
        assert b"rounded to" not in one.schema.field(name).metadata[b"description"]


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    return table[name].fill_null(np.nan).to_numpy()


def test_a_rounded_version_cannot_follow_an_exact_one(run_spec: Callable[..., RunSpec]) -> None:
    run(make_plan(run_spec(catalog={"version": "1"})), LOCAL)
    plan = make_plan(run_spec(catalog={"version": "2", "follows": "1", "rounded": True}))
    with pytest.raises(PlanError, match=r"catalog\.rounded was False, now is True"):
        run(plan, LOCAL)
