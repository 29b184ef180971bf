"""The table layer: arrays in text, streams that only go forward, bounded memory, broken bytes."""

import gzip
import struct
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import ShardCorrupt, ShardError
from engine.surveys.gaia import GAIA_RVS, GAIA_XP, GAIA_XP_SAMPLED
from engine.surveys.gaia.content import Plain
from engine.surveys.gaia.lines import LINE_LIMIT
from engine.surveys.gaia.tables import opened
from engine.surveys.gaia.text_arrays import parse_arrays
from engine.surveys.store import Folder
from tests.unit.gaia_files import (
    FORMS,
    continuous_columns,
    csv_json,
    long,
    put,
    rvs_columns,
    sampled_columns,
    spec_of,
)

NAN = np.nan
NUMBERS = {"source_id": "id", "flux": 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1.0,2.5,-3e-16]", [1, 2.5, -3e-16]),
        ("(1.0, 2.5, -3E-16)", [1, 2.5, -3e-16]),
        ("[1.0,null,3]", [1, NAN, 3]),
        ("[null,null,null]", [NAN] * 3),
        ("(1.0, nan, NaN)", [1, NAN, NAN]),
        ("(1.0, None, inf)", [1, NAN, np.inf]),
        ("  [ 1.0 ,\t2 , 3 ]  ", [1, 2, 3]),
        ("[1.0,,3]", [1, NAN, 3]),
        (None, [NAN] * 3),
    ],
)
def test_arrays_in_text(text: str | None, expected: list[float]) -> None:
    found = parse_arrays(pa.array([text], pa.string()), "x", 3)
    assert np.array_equal(found, [expected], equal_nan=True)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[1,2]", "[1,2,3,4]", "1,2,3", "[1,2,3", "1,2,3]", "(1,2,3]", "[1,2,x]", "[1 2,3]",
     "[[1],2,3]",     "[1,2,3][1,2,3]", '["1",2,3]', "[1,2,0x10]", "[1;2;3]", "null", "[1,2,3,]"],
)  # fmt: skip
def test_text_that_is_no_such_array(text: str) -> None:
    with pytest.raises(ShardCorrupt, match="column x: "):
        parse_arrays(pa.array(["[1,2,3]", text]), "x", 3)


@given(st.lists(st.lists(st.floats(), min_size=3, max_size=3), min_size=1, max_size=5))
def test_every_number_comes_back_exactly(rows: list[list[float]]) -> None:
    text = pa.array([repr(row) for row in rows])
    assert np.array_equal(parse_arrays(text, "x", 3), np.array(rows), equal_nan=True)


@pytest.fixture
def bulk(tmp_path: Path) -> Path:
    """20,000 rows of 200 bytes in one gzip stream."""
    head = "# %ECSV 1.0\n# ---\n# {delimiter: ',', datatype: []}\nsource_id,flux,padding\n"
    noise = np.random.default_rng(1).integers(0, 10, (20_000, 170)).astype(np.uint8) + ord("0")
    rows = (f'{2**60 + n},"[{n},null,0.5]",{bytes(digits).decode()}\n' for n, digits in enumerate(noise))
    return put(tmp_path, "bulk.csv.gz", (head + "".join(rows)).encode())


def ids(path: Path, start: int, stop: int) -> list[int]:
    with opened(Folder(path.parent), path.name) as table:
        return (table.read(NUMBERS, start, stop)["source_id"] - 2**60).tolist()


def test_tasks_in_order_inflate_a_file_once(bulk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inflated = 0
    read = Plain.read

    def counted(self: Plain, count: int) -> bytes:
        nonlocal inflated
        found = read(self, count)
        inflated += len(found)
        return found

    monkeypatch.setattr(Plain, "read", counted)
    size = len(gzip.decompress(bulk.read_bytes()))
    for start, stop in pairwise(range(0, 20_001, 500)):
        assert ids(bulk, start, stop) == list(range(start, stop))
    assert inflated == size
    assert ids(bulk, 3, 5) == [3, 4]
    assert inflated < 1.5 * size


def test_a_file_written_anew_is_read_anew(bulk: Path) -> None:
    assert ids(bulk, 0, 1) == [0]
    other = gzip.decompress(bulk.read_bytes()).replace(str(2**60 + 1).encode(), str(2**60 + 5).encode())
    put(bulk.parent, bulk.name, other)
    assert ids(bulk, 1, 2) == [5]


def test_after_an_error_reading_goes_on(bulk: Path) -> None:
    assert ids(bulk, 0, 10) == list(range(10))
    with pytest.raises(ShardCorrupt, match="expected rows 19995 to 20005"):
        ids(bulk, 19_995, 20_005)
    assert ids(bulk, 10, 12) == [10, 11]


def test_rows_are_counted_without_blank_lines_and_with_a_last_one_left_open(tmp_path: Path) -> None:
    path = put(
        tmp_path, "a.csv", b'\xef\xbb\xbfsource_id,flux\r\n7,"[1,2,3]"\r\n8,"[1,2,3]"\n\n\n9,"[1,2,3]"'
    )
    with opened(Folder(tmp_path), path.name) as table:
        assert table.rows() == 3
        assert table.read(NUMBERS, 0, 3)["source_id"].tolist() == [7, 8, 9]


def test_a_line_without_end_needs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'source_id,flux\n7,"[1')
        for _ in range(200):
            file.write(b",1" * 2**19)
    tracemalloc.start()
    with (
        pytest.raises(ShardCorrupt, match="a line of more than 16777216 bytes"),
        opened(Folder(tmp_path), path.name) as table,
    ):
        table.rows()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * LINE_LIMIT


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    padding = "0" * 30_000
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write("source_id,flux,padding\n")
        for row in range(2_000):
            file.write(f'{2**60 + row},"[1,2,3]",{padding}\n')
    tracemalloc.start()
    with opened(Folder(tmp_path), path.name) as table:
        assert table.rows() == 2_000
    for start in range(0, 2_000, 100):
        assert ids(path, start, start + 100) == list(range(start, start + 100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The text of the file is 60 MB. Where reading begins again, two streams meet, of 8 MiB and a piece each.
    assert peak < 24 * 2**20


PRODUCTS = {
    "rvs": (GAIA_RVS, rvs_columns(1)),
    "rvs long": (GAIA_RVS, long(rvs_columns(1), GAIA_RVS.arms[0].grid.wave_P / 10)),
    "xp": (GAIA_XP, continuous_columns(1)),
    "xp sampled": (GAIA_XP_SAMPLED, sampled_columns(1)),
    "xp continuous": (GAIA_XP_SAMPLED, continuous_columns(1)),
}
TOKENS = [b"9" * 9, b"-1", b'"', b"\n", b",", b"nan", b"[", b"<", b"]"]
CHANGES = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 1), st.floats(0, 0.05)),
        st.integers(0, 9),
        st.one_of(st.binary(max_size=6), st.sampled_from(TOKENS)),
    ),
    min_size=1,
    max_size=6,
)  # fmt: skip


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("form", FORMS)
@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(
    product=st.sampled_from(list(PRODUCTS)), changes=CHANGES, keep=st.one_of(st.just(1.0), st.floats(0, 1))
)
def test_broken_bytes_raise_nothing_but_shard_errors(
    form: str, packed: str, product: str, changes: list[tuple[float, int, bytes]], keep: float, tmp_path: Path
) -> None:
    survey, columns = PRODUCTS[product]
    broken = bytearray(FORMS[form](columns))
    for where, gone, new in changes:
        at = int(where * len(broken))
        broken[at : at + gone] = new
    path = put(tmp_path, f"a.csv{packed}", bytes(broken[: int(keep * len(broken))]))
    files, spec, store = survey.read.args[2], spec_of(survey, tmp_path), Folder(tmp_path)
    for step in (files.count, lambda *place: files.read(*place, 0, 1)):
        try:
            step(spec, store, path.name)
        except ShardError as error:
            assert str(error)


def test_the_fuzz_begins_from_what_can_be_read(tmp_path: Path) -> None:
    for survey, columns in PRODUCTS.values():
        path = put(tmp_path, "a.csv", csv_json(columns))
        files = survey.read.args[2]
        assert files.count(spec_of(survey, tmp_path), Folder(tmp_path), path.name) == 1


@pytest.mark.parametrize(
    ("count", "offset"), [(2**31 - 1, 0), (-1, 0), (2401, 2**31 - 1), (2401, -5), (2401, 30_000)]
)
def test_arrays_outside_of_the_heap_are_no_missing_ones(tmp_path: Path, count: int, offset: int) -> None:
    broken = bytearray(FORMS["variable.fits"](rvs_columns(1)))
    # A row is source_id, ra and dec, then where the flux is in the heap.
    at = broken.index(struct.pack(">qddii", rvs_columns(1)["source_id"][0], 10.5, -60.5, 2401, 0)) + 24
    broken[at : at + 8] = struct.pack(">ii", count, offset)
    path = put(tmp_path, "a.fits", bytes(broken))
    with pytest.raises(ShardCorrupt, match="column flux: "), opened(Folder(tmp_path), path.name) as table:
        table.read({"flux": 2401}, 0, 1)


def test_rows_of_no_width_are_refused(tmp_path: Path) -> None:
    content = FORMS["variable.fits"](rvs_columns(2))
    at = content.index(b"NAXIS1  =", content.index(b"XTENSION")) + 10
    path = put(tmp_path, "a.fits", content[:at] + b"%20d" % 0 + content[at + 20 :])
    with opened(Folder(tmp_path), path.name) as table, pytest.raises(ShardCorrupt, match="header is broken"):
        table.read({"source_id": "id"}, 0, 2)


def test_a_votable_that_promises_too_many_rows_takes_no_memory(tmp_path: Path) -> None:
    promise = FORMS["text.xml"](rvs_columns(2)).replace(b"<TABLE", b'<TABLE nrows="90000000000"', 1)
    path = put(tmp_path, "a.xml", promise)
    with opened(Folder(tmp_path), path.name) as table:
        assert table.rows() == 2
