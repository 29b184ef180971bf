"""What a read gives: exactly the declared columns, the file's numbers, and keys from where they are known."""

import gzip
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.columns import schema
from engine.surveys import SURVEYS
from engine.surveys.desi import DESI
from engine.surveys.desi.layout import IMAGES
from engine.types import Task
from tests.unit.desi_files import DesiFile, array, read_all, survey_spec, tasks_of, write_redrock

pytestmark = pytest.mark.usefixtures("cache")

HEALPIX_PATH = "healpix/sv3/bright/103/10378/coadd-sv3-bright-10378.fits"
TILE_PATH = "tiles/cumulative/80613/20210324/coadd-4-80613-thru20210324.fits"


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("seven")
    objects = np.array(["TGT", "SKY", "TGT", "TGT", "", "TGT", "TGT"], "S3")
    DesiFile(rows=7, fibermap={"OBJTYPE": objects}).write(root / "coadd-main-dark-1.fits")
    return root


def test_survey_is_in_the_table() -> None:
    assert SURVEYS["desi"] is DESI
    assert [(arm.grid.pixels, round(arm.grid.high, 1)) for arm in DESI.arms] == [
        (2751, 5800.0),
        (2326, 7620.0),
        (2881, 9824.0),
    ]


@pytest.mark.parametrize("rows", [0, 1, 3])
def test_columns_and_arrays_are_the_files(tmp_path: Path, rows: int) -> None:
    file = DesiFile(rows=rows, mask_kind="uint32")
    file.write(tmp_path / "coadd-main-dark-1.fits")
    table = read_all(tmp_path)
    assert table.schema.equals(schema(DESI.columns), check_metadata=True)
    assert len(table) == rows
    for name, (hdu, arm) in IMAGES.items():
        ours = array(table, name) if rows else np.zeros((0, arm.grid.pixels))
        assert np.array_equal(ours, file.arrays()[hdu])
    table.validate(full=True)


def test_tensors_share_their_memory(seven: Path) -> None:
    table = read_all(seven)
    flux = table["flux_b"].chunk(0)
    assert flux.to_numpy_ndarray().ctypes.data == flux.storage.buffers()[2].address


def test_what_is_odd_in_the_pixels_passes_through(tmp_path: Path) -> None:
    flux, ivar = np.ones((4, 2751), "f4"), np.zeros((4, 2751), "f4")
    flux[0, :3] = np.nan, np.inf, -np.inf
    file = DesiFile(images={"B_FLUX": flux, "B_IVAR": ivar}, fibermap={"COADD_FIBERSTATUS": [0, 512, 1, 3]})
    file.write(tmp_path / "coadd-main-dark-1.fits")
    table = read_all(tmp_path)
    assert np.array_equal(array(table, "flux_b"), flux, equal_nan=True)
    assert not array(table, "ivar_b").any()
    assert table["instrument_status"].to_pylist() == [0, 512, 1, 3]


@settings(max_examples=20)
@given(cuts=st.sets(st.integers(0, 7)), by=st.sampled_from(["all", "targets"]))
def test_row_ranges_joined_equal_the_whole(seven: Path, cuts: set[int], by: str) -> None:
    spec = survey_spec(seven, select={"by": by})
    (whole,) = tasks_of(spec)
    edges = sorted({0, 7, *cuts})
    parts = [
        DESI.read(spec, Task(task_id="", shard=whole.shard, start=start, stop=stop))
        for start, stop in pairwise(edges)
    ]
    joined = pa.concat_tables(parts)
    assert joined.equals(DESI.read(spec, whole))
    assert joined["row_in_shard"].to_pylist() == (list(range(7)) if by == "all" else [0, 2, 3, 5, 6])
    ids = [
        DESI.read_ids(spec, Task(task_id="", shard=whole.shard, start=start, stop=stop))
        for start, stop in pairwise(edges)
    ]
    assert pa.concat_tables(ids).equals(joined.drop(list(IMAGES)))


@pytest.mark.parametrize("change", ["shuffled", "gzip", "resolution", "compressed"])
def test_how_the_file_is_written_is_irrelevant(tmp_path: Path, change: str) -> None:
    knobs: dict[str, Any] = {"shuffled": change == "shuffled", "resolution": change == "resolution"}
    if change == "compressed":
        knobs["mask_kind"] = "compressed"
    DesiFile(rows=5).write(tmp_path / "a" / "coadd-main-dark-1.fits")
    path = DesiFile(rows=5, **knobs).write(tmp_path / "b" / "coadd-main-dark-1.fits")
    if change == "gzip":
        path.with_name("coadd-main-dark-1.fits.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
        path.unlink()
    assert read_all(tmp_path / "b").equals(read_all(tmp_path / "a"))


def test_ids_are_exact(tmp_path: Path) -> None:
    ids = [2**53 + 1, -1695072, 2**63 - 1, 39633297352951412]
    DesiFile(fibermap={"TARGETID": np.array(ids), "REF_ID": np.array(ids)}).write(tmp_path / "coadd-x.fits")
    table = read_all(tmp_path)
    assert table["targetid"].to_pylist() == ids
    assert table["gaia_source_id"].to_pylist() == [ids[0], None, ids[2], ids[3]]


def test_no_gaia_match_is_null(tmp_path: Path) -> None:
    columns = {
        "REF_ID": np.array([7, 7, 0, 7]),
        "REF_CAT": np.array(["G2", "T2", "G2", "G3"], "S2"),
        "GAIA_PHOT_G_MEAN_MAG": np.array([0, 17, np.nan, 18], "f4"),
        "PARALLAX": np.array([0, -0.3, np.inf, 0.1], "f4"),
        "EBV": np.array([0, np.nan, 0.5, 0.5], "f4"),
        "GAIA_PHOT_BP_MEAN_MAG": None,
        "OBJTYPE": np.array(["TGT", "", "SKY", "BAD"], "S3"),
    }
    DesiFile(fibermap=columns).write(tmp_path / "coadd-x.fits")
    table = read_all(tmp_path)
    assert table["gaia_source_id"].to_pylist() == [7, None, None, 7]
    assert table["phot_g_mean_mag"].to_pylist() == [None, 17, None, 18]
    assert table["phot_bp_mean_mag"].to_pylist() == [None] * 4
    assert [value and round(value, 6) for value in table["parallax"].to_pylist()] == [None, -0.3, None, 0.1]
    assert table["ebv"].to_pylist() == [0, None, 0.5, 0.5]
    assert table["object_type"].to_pylist() == ["TGT", "", "SKY", "BAD"]


KEYS = ("survey", "program", "healpix", "tileid", "expid")
CASES = {
    "path of a pixel": (HEALPIX_PATH, {}, {}, ("sv3", "bright", 10378, None, None)),
    "gzipped path": (HEALPIX_PATH + ".gz", {}, {}, ("sv3", "bright", 10378, None, None)),
    "path of a tile": (TILE_PATH, {}, {}, (None, None, None, 80613, None)),
    "name that says nothing": ("coadd-x.fits", {}, {}, (None,) * 5),
    "number in the path too large": ("coadd-4-99999999999-thru3.fits", {}, {}, (None,) * 5),
    "header": (
        HEALPIX_PATH,
        {"SURVEY": "main", "PROGRAM": "dark", "HPXPIXEL": 7},
        {},
        ("main", "dark", 7, None, None),
    ),
    "header's group": ("coadd-x.fits", {"SPGRP": "healpix", "SPGRPVAL": 9}, {}, (None, None, 9, None, None)),
    "header's other group": (
        TILE_PATH,
        {"SPGRP": "cumulative", "SPGRPVAL": 20210324},
        {},
        (None, None, None, 80613, None),
    ),
    "header of a tile": ("coadd-x.fits", {"TILEID": 169}, {}, (None, None, None, 169, None)),
    "table": (
        HEALPIX_PATH,
        {"SURVEY": "main", "HPXPIXEL": 7, "TILEID": 3},
        {"SURVEY": "sv1", "PROGRAM": "backup", "HPXPIXEL": 8, "TILEID": 4, "EXPID": 5},
        ("sv1", "backup", 8, 4, 5),
    ),
    "blanks in the table": ("coadd-x.fits", {}, {"SURVEY": "", "TILEID": -1}, (None,) * 5),
    "SV3 columns": (TILE_PATH, {}, {"SV3_DESI_TARGET": 0}, ("sv3", None, None, 80613, None)),
    "two phases": (
        TILE_PATH,
        {},
        {"SV1_DESI_TARGET": 0, "SV3_DESI_TARGET": 0},
        (None, None, None, 80613, None),
    ),
    "SV1 columns in an SV3 path": (
        HEALPIX_PATH,
        {},
        {"SV1_DESI_TARGET": 0},
        ("sv3", "bright", 10378, None, None),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_keys_come_from_table_then_header_then_path(tmp_path: Path, case: str) -> None:
    name, header, columns, expected = CASES[case]
    table = {
        key: np.full(2, value, "S8" if isinstance(value, str) else "i4") for key, value in columns.items()
    }
    path = DesiFile(rows=2, header=header, fibermap=table).write(tmp_path / name.removesuffix(".gz"))
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(path.read_bytes(), 1))
        path.unlink()
    rows = read_all(tmp_path).select(KEYS).to_pylist()
    assert rows == [dict(zip(KEYS, expected, strict=True))] * 2


def test_a_fibermap_with_hardly_a_column(tmp_path: Path) -> None:
    names = DesiFile(rows=2).table().dtype.names or ()
    DesiFile(rows=2, fibermap={name: None for name in names if name != "TARGETID"}).write(
        tmp_path / "coadd-x.fits"
    )
    row = read_all(tmp_path).drop(list(IMAGES)).to_pylist()[1]
    assert {name for name, value in row.items() if value is not None} == {"targetid", "row_in_shard"}


def test_status_of_a_single_exposure(tmp_path: Path) -> None:
    columns = {"COADD_FIBERSTATUS": None, "FIBERSTATUS": np.array([1, 2, 3, 4], "i4")}
    DesiFile(fibermap=columns).write(tmp_path / "spectra-x.fits")
    assert read_all(tmp_path)["instrument_status"].to_pylist() == [1, 2, 3, 4]


def test_wrong_kind_of_column(tmp_path: Path) -> None:
    DesiFile(fibermap={"TARGETID": np.arange(4.0)}).write(tmp_path / "coadd-x.fits")
    spec = survey_spec(tmp_path)
    (task,) = tasks_of(spec)
    with pytest.raises(Exception, match="column TARGETID is float64"):
        DESI.read(spec, task)


def test_read_ids_survives_a_broken_redrock_file(tmp_path: Path) -> None:
    DesiFile(images={"R_FLUX": None}).write(tmp_path / "coadd-x.fits")
    write_redrock(tmp_path / "redrock-x.fits", [1, 2]).write_bytes(b"nonsense")
    spec = survey_spec(tmp_path, select={"by": "spectype"}, rv={"from": "redrock"})
    (task,) = tasks_of(spec)
    ids = DESI.read_ids(spec, task)
    assert len(ids) == 4
    assert ids["rv"].null_count == ids["spectype"].null_count == 4
