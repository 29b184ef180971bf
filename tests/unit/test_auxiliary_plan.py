"""[[auxiliary]] tables that cannot work are refused in the plan, with the remedy; copies are made once."""

import contextlib
import gzip
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from astropy import units as u
from astropy.io.votable.ucd import check_ucd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.auxiliary import open_tables
from engine.auxiliary.cache import cache_folder, made_once
from engine.auxiliary.content import content_sha256
from engine.auxiliary.inputs import AUXILIARY, PARALLAX_ZERO_POINT
from engine.errors import PlanError
from tests.unit.auxiliary_tables import BIG, COLUMNS, asked, csv_file, fits, folder, parquet

TWO = {"source_id": [1, 2], "g": [10.0, 11.0], "word": ["x", "y"], "xp": [[1.0, 2.0], [3.0, 4.0]]}


def refused(match: str, *specs: Any) -> None:
    with pytest.raises(PlanError, match=match):
        open_tables(specs, COLUMNS)
    assert not list(cache_folder().glob("*.part-*")), "a refused table leaves nothing behind"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"key": "id"}, "no column id; it has source_id, g, word, xp"),
        ({"columns": {"parallax": "plx"}}, "no column plx; it has source_id, g"),
        ({"columns": {"phot_g": "g"}}, "phot_g is not known, and g .* no array; known scalars: .*tmass_ks"),
        ({"columns": {"flux_b": "xp"}}, "flux_b belongs to the spectra"),
        ({"columns": {"auxiliary_missing": "g"}}, "belongs to the spectra"),
        ({"columns": {"XP": "xp"}}, "'XP' is no name of ours"),
        ({"columns": {"parallax_zero_point": "g"}}, "computed.*ask for nu_eff_used_in_astrometry"),
        ({"columns": {"ra": "g"}}, "ra of .* needs dec"),
        ({"columns": {"rv_err": "g"}}, "rv_err of .* needs rv"),
        ({"columns": {"parallax": "word"}}, r"word \(our parallax\) .* of kind text, expected float"),
        ({"columns": {"parallax": "xp"}}, "of kind array, expected float"),
        ({"columns": {"astrometric_params_solved": "g"}}, "of kind number, expected int32"),
        ({"match": "ids"}, "no id column 'ids'.*they have targetid, obs_id"),
        ({"match": "ra"}, "no id column 'ra'"),
        ({"match": "obs_id"}, "source_id .* of kind integer, and obs_id of the spectra is text"),
        ({"key": "word"}, "word .* of kind text, and gaia_source_id of the spectra is integer"),
        ({"key": "g"}, r"g .* is DOUBLE, exact only up to 2\*\*53.*int64"),
    ],
)
def test_refused_with_a_remedy(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    refused(match, asked(parquet(tmp_path / "t.parquet", TWO), **change))


@pytest.mark.parametrize("write", [parquet, csv_file, fits], ids=["parquet", "csv", "fits"])
def test_rows_that_repeat_a_key_are_listed(tmp_path: Path, write: Any) -> None:
    path = tmp_path / {parquet: "t.parquet", csv_file: "t.csv", fits: "t.fits"}[write]
    doubled = {"source_id": [BIG, 5, BIG + 1, 5, BIG], "g": [1.0] * 5}
    refused(f"several rows for one source_id, such as 5, {BIG}: keep one", asked(write(path, doubled)))


def test_a_key_that_repeats_where_two_files_of_the_copy_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.auxiliary.sorted_copy.PART_ROWS", 2)
    path = parquet(tmp_path / "t.parquet", {"source_id": [3, 2, 2, 1], "g": [1.0] * 4})
    open_tables([asked(parquet(tmp_path / "u.parquet", {"source_id": [3, 2, 1], "g": [1.0] * 3}))], COLUMNS)
    refused("such as 2: keep one", asked(path))


def test_arrays_of_unequal_length_and_of_none(tmp_path: Path) -> None:
    ragged = parquet(tmp_path / "r.parquet", {"source_id": [1, 2], "xp": [[1.0], [1.0, 2.0]]})
    refused("arrays of xp .* unequal length: [12], [12]; pad", asked(ragged, columns={"xp": "xp"}))
    none = {"source_id": [1], "xp": pa.array([None], pa.list_(pa.float32()))}
    refused("xp .* missing in every row", asked(parquet(tmp_path / "n.parquet", none), columns={"xp": "xp"}))


def test_tables_without_rows_or_files(tmp_path: Path) -> None:
    none = {"source_id": pa.array([], pa.int64()), "g": pa.array([], pa.float32())}
    refused("no row with a source_id", asked(parquet(tmp_path / "t.parquet", none)))
    unmatched = {"source_id": pa.array([None], pa.int64()), "g": [1.0]}
    refused("no row with a source_id", asked(parquet(tmp_path / "u.parquet", unmatched)))
    refused("no row with a source_id", asked(csv_file(tmp_path / "t.csv", none)))
    refused("there is no .*; name a Parquet", asked(tmp_path / "absent.parquet"))
    (tmp_path / "empty").mkdir()
    refused(r"no \*.parquet anywhere under", asked(tmp_path / "empty"))
    (tmp_path / "t.xlsx").write_bytes(b"x")
    refused("is none of .*csv", asked(tmp_path / "t.xlsx"))


@pytest.mark.parametrize("name", ["t.parquet", "t.fits", "t.csv", "t.csv.gz"])
@pytest.mark.parametrize("content", [b"", b"PAR1", b"\x1f\x8b\x08\x00", b"\xff\xfe\x00" * 99, b"SIMPLE  ="])
def test_files_that_are_not_what_they_are_called(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    refused(name.replace(".", r"\."), asked(tmp_path / name))


@pytest.mark.parametrize("text", ["1.5", "1e18", "0x10", "9223372036854775808", "abc"])
def test_text_that_is_no_whole_number_is_no_id(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"source_id,g\n{text},1.0\n")
    refused(r"t\.csv cannot be read as asked", asked(path))


def test_csv_with_ragged_rows_or_words_for_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for rows in ("1,2,3", "1", "1,bright", '1,"2\n3,4', '1,"2" 3'):
        path.write_text(f"source_id,g\n{rows}\n")
        refused(r"t\.csv cannot be read as", asked(path))
    path.write_text("source_id,g,g\n1,2,3\n")
    refused("line of distinct names", asked(path))


def test_gzip_that_ends_early(tmp_path: Path) -> None:
    rows = "".join(f"{number},{number / 7}\n" for number in range(5000))
    whole = gzip.compress(f"source_id,g\n{rows}".encode())
    path = tmp_path / "t.csv.gz"
    for kept in (len(whole) // 2, len(whole) - 9, 30):
        path.write_bytes(whole[:kept])
        refused(r"t\.csv\.gz cannot be read as CSV", asked(path))


def test_a_folder_whose_files_differ(tmp_path: Path) -> None:
    at = folder(tmp_path / "t", TWO)
    parquet(at / "c.parquet", {"source_id": [9], "other": [1.0]})
    refused("cannot be read as asked", asked(at))


def test_one_column_comes_from_one_table(tmp_path: Path) -> None:
    one, two = (parquet(tmp_path / name, TWO) for name in ("one.parquet", "two.parquet"))
    refused("one.parquet and .*two.parquet both give phot_g_mean_mag", asked(one), asked(two))


def test_the_hash_of_a_folder_is_of_its_content(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "a", TWO), folder(tmp_path / "b", TWO)
    assert content_sha256(first) == content_sha256(second)
    (second / "a.parquet").rename(second / "z.parquet")
    assert content_sha256(first) != content_sha256(second)


def test_a_hash_that_is_kept_follows_the_file(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", TWO)
    os.utime(path, (1, 1))
    before = content_sha256(path)
    assert content_sha256(path) == before and list((cache_folder() / "sha256").iterdir())
    parquet(path, TWO | {"g": [1.0, 2.0]})
    assert content_sha256(path) != before


def test_new_columns_have_units_and_ucds() -> None:
    for column in (*AUXILIARY, PARALLAX_ZERO_POINT):
        u.Unit(column.unit, format="vounit")
        assert check_ucd(column.ucd, check_controlled_vocabulary=True), column.ucd
        assert column.description


def _make_slowly(part: Path) -> None:
    (part / "made by").write_text(str(os.getpid()))
    log = part.parent / "log"
    with log.open("a") as file:
        file.write("made\n")
    multiprocessing.Event().wait(0.3)


def _prepare(cache: str, start: Any, found: Any) -> None:
    os.environ["ABUNDANT_CACHE"] = cache
    start.wait()
    found.put(str(made_once("copy", _make_slowly)))


def test_of_several_processes_one_makes_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path))
    context = multiprocessing.get_context("spawn")
    start, found = context.Barrier(2), context.Queue()
    several = [context.Process(target=_prepare, args=(str(tmp_path), start, found)) for _ in range(2)]
    for process in several:
        process.start()
    paths = {found.get(timeout=60) for _ in several}
    for process in several:
        process.join()
    assert paths == {str(cache_folder() / "copy")}
    assert (cache_folder() / "log").read_text() == "made\n"


def test_where_locks_do_not_work_the_first_to_finish_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path))

    def no_locks(*_: Any) -> None:
        raise OSError("Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    final = cache_folder() / "copy"

    def overtaken(part: Path) -> None:
        (part / "mine").touch()
        final.mkdir()
        (final / "theirs").touch()

    assert [file.name for file in made_once("copy", overtaken).iterdir()] == ["theirs"]
    assert not list(cache_folder().glob("*.part-*"))


def test_what_a_killed_process_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path))
    import socket

    left = cache_folder() / f"copy.{socket.gethostname()}.part-1"
    (left / "spill").mkdir(parents=True)
    made_once("copy", lambda part: (part / "whole").touch())
    assert not left.exists()


def test_a_fits_table_that_ends_early(tmp_path: Path) -> None:
    path = fits(tmp_path / "t.fits", {"source_id": range(5000), "g": [1.0] * 5000})
    for kept in (3000, 8640, 40_000):
        path.write_bytes(path.read_bytes()[:80_000][:kept])
        refused(r"t\.fits", asked(path))


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"SIMPLER"])
def test_a_fits_table_that_begins_like_another_format(tmp_path: Path, start: bytes) -> None:
    path = fits(tmp_path / "t.fits", {"source_id": range(50), "g": [1.0] * 50})
    path.write_bytes(start + path.read_bytes()[len(start) :])
    refused(r"t\.fits", asked(path))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    write=st.sampled_from([(parquet, "t.parquet"), (csv_file, "t.csv"), (fits, "t.fits")]),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4),
)
@pytest.mark.filterwarnings("ignore")
def test_broken_files_end_in_a_plan_error_or_in_a_table(tmp_path: Path, write: Any, edits: list) -> None:
    make, name = write
    path = make(tmp_path / name, TWO)
    content = bytearray(path.read_bytes())
    for where, new in edits:
        at = int(where * len(content))
        content[at : at + len(new)] = new
    path.write_bytes(bytes(content))
    with contextlib.suppress(PlanError):
        open_tables([asked(path, columns={"phot_g_mean_mag": "g", "xp": "xp"})], COLUMNS)
