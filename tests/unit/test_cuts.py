"""Cuts are understood as they are meant: nothing but columns, numbers and what compares them can be said."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from engine.errors import PlanError
from engine.toml import complaints, strictly
from engine.train.cuts_language import parse
from engine.train.cuts_values import conditions, numbers
from engine.train.spec import Cuts

COLUMNS: dict[str, Any] = {
    "snr": pa.array([60.0, np.nan, 20.0]),
    "STARFLAG": pa.array([0, 1, 4], pa.int32()),
    "name": pa.array(["a", "b", None]),
    "good": pa.array([True, None, False]),
}


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("snr > 50", [1, 0, 0]),
        ("20 <= snr < 61", [1, 0, 1]),
        ("20 < snr <= 60", [1, 0, 0]),
        ("STARFLAG & 0b11001 == 0", [1, 0, 1]),
        ("(STARFLAG | 1) ^ 1 == 4 or ~STARFLAG == -1", [1, 0, 1]),
        ("not snr > 50", [0, 0, 1]),
        ("snr > 50 or STARFLAG == 1", [1, 1, 0]),
        ("snr != 60", [0, 0, 1]),
        ("known(snr) and not known(name)", [0, 0, 1]),
        ("name in ('a', 'c')", [1, 0, 0]),
        ("name not in ['a']", [0, 1, 0]),
        ("snr in ()", [0, 0, 0]),
        ("good", [1, 0, 0]),
        ("not good", [0, 0, 1]),
        ("log10(snr - 30) > 1 and abs(-snr) == 60", [1, 0, 0]),
        ("snr / 0 > 1 or sqrt(-snr) < 1e9", [0, 0, 0]),
        ("STARFLAG ** 2 >= 1 and exp(STARFLAG) < 10", [0, 1, 0]),
        (" -snr < 1e1 - 2 * 15 ", [1, 0, 0]),
    ],
)
def test_what_can_be_said(text: str, met: list[int]) -> None:
    assert conditions(parse(text, "cuts.x"), COLUMNS).tolist() == [bool(one) for one in met]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "snr >",
        "snr = 3",
        "snr.real > 1",
        "__import__('os').system('true')",
        "open('/etc/passwd') > 1",
        "[x for x in snr]",
        "lambda: snr",
        "abs(snr, 2) > 1",
        "snr if good else snr",
        "snr in (snr)",
        "None == snr",
        "f'{snr}' == 'a'",
        "(snr := 3) > 1",
        "snr[0] > 1",
        "snr << 3 > 1",
        "*snr",
        "x\0",
        "(" * 400 + "snr" + ")" * 400,
        "snr > " + "1" * 2000,
    ],
)
def test_what_cannot_be_said(text: str) -> None:
    with pytest.raises(PlanError, match=r"(?s)^cuts\.x: .* is no expression of columns"):
        parse(text, "cuts.x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("snr", "is double, no condition"),
        ("name > 3", "cannot be computed"),
        ("snr & 1 == 0", "cannot be computed"),
        ("-name > 1", "cannot be computed"),
        ("STARFLAG * 9223372036854775807 > 0", "overflow"),
        ("STARFLAG < 99999999999999999999999", "cannot be computed"),
    ],
)
def test_what_makes_no_sense(text: str, reason: str) -> None:
    with pytest.raises(PlanError, match=f"cuts.x: .*{reason}"):
        conditions(parse(text, "cuts.x"), COLUMNS)


def test_a_huge_power_takes_no_time_and_is_missing() -> None:
    assert not conditions(parse("9 ** 999999 > snr", "cuts.x"), COLUMNS).any()


def test_numbers_are_nan_where_they_are_missing() -> None:
    np.testing.assert_array_equal(numbers(parse("snr * 2 + 1", "x"), COLUMNS), [121, np.nan, 41])
    with pytest.raises(PlanError, match="x: column name is string, not numbers"):
        numbers(parse("name", "x"), COLUMNS)


def test_cuts_of_ones_own_stand_beside_ours_in_their_order() -> None:
    cuts = strictly({"ruwe": "ruwe < 1.4", "min_snr": 5, "a": "b > 1"}, Cuts)
    assert (cuts.min_snr, cuts.named) == (5, {"ruwe": "ruwe < 1.4", "a": "b > 1"})
    assert list(cuts.named) == ["ruwe", "a"]


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"min_srn": 5.0}, "min_srn = 5.0: no cut of your own, which is text"),
        ({"keep": "best_snr"}, "best_snr = NAME go together"),
        ({"best_snr": "snr"}, "best_snr = NAME go together"),
        ({"keep": "some"}, "keep: input should be 'all' or 'best_snr'"),
    ],
)
def test_a_wrong_key_is_told(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="") as found:
        strictly(plain, Cuts)
    assert message in complaints(found.value, Cuts)  # pyright: ignore[reportArgumentType]
