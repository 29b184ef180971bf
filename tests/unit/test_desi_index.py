"""Listing DESI files: what is found, what is wrong with it, what the cache keeps."""

import gzip
import os
import shutil
import time
from pathlib import Path

import fitsio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import PlanError, ShardCorrupt, ShardUnavailable
from engine.surveys import index
from engine.surveys.desi import DESI, files
from engine.surveys.desi.layout import IMAGES
from engine.surveys.index_cache import Finding
from engine.surveys.store import Entry, Folder
from engine.types import Shard, Task
from tests.unit.desi_files import ARMS, DesiFile, read_all, survey_spec, tasks_of

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "desi").mkdir()
    return tmp_path / "desi"


def listed(root: Path) -> list[Shard]:
    return list(DESI.list_shards(survey_spec(root)))


def only(root: Path) -> Shard:
    (shard,) = listed(root)
    return shard


def test_finds_files_in_order_of_relative_path(root: Path) -> None:
    names = ["b/coadd-main-dark-2.fits", "a/z/spectra-1-2-thru3.fits", "a/coadd-main-dark-10.fits"]
    for name in names:
        DesiFile(rows=2).write(root / name)
    DesiFile(rows=2).write(root / "a" / "redrock-main-dark-10.fits")
    shards = listed(root)
    assert [shard.path for shard in shards] == sorted(names)
    assert all(shard.rows == 2 and shard.problem is None for shard in shards)
    assert all(set(shard.extents) == {hdu for hdu, _ in IMAGES.values()} for shard in shards)


def test_shard_id_follows_path_and_content_and_not_the_root(root: Path, tmp_path: Path) -> None:
    DesiFile().write(root / "x" / "coadd-main-dark-1.fits")
    before = only(root)
    shutil.copytree(root, tmp_path / "elsewhere")
    assert only(tmp_path / "elsewhere") == before
    assert len(before.shard_id) == 16
    (root / "x").rename(root / "y")
    assert only(root).shard_id != before.shard_id


@pytest.mark.parametrize("missing", [True, False])
def test_no_files_is_a_plan_error(root: Path, missing: bool) -> None:
    with pytest.raises(PlanError, match=r"survey\.root"):
        listed(root / "missing" if missing else root)


def test_a_folder_that_cannot_be_listed_is_a_plan_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DesiFile().write(root / "coadd-main-dark-1.fits")
    (root / "closed").mkdir()
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).rstrip("/").endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PlanError, match=r"closed.*Permission denied"):
        listed(root)


SHORT = np.zeros((4, 100), "f4")
WRONG = {
    "missing image": ({"R_IVAR": None}, "HDU R_IVAR: missing"),
    "missing wavelength": ({"Z_WAVELENGTH": None}, "HDU Z_WAVELENGTH: missing"),
    "wrong pixels": ({"B_FLUX": SHORT}, r"HDU B_FLUX: shape \(4, 100\), expected \(4, 2751\)"),
    "wrong rows": ({"B_FLUX": np.zeros((3, 2751), "f4")}, r"shape \(3, 2751\), expected \(4, 2751\)"),
    "wrong kind": ({"B_FLUX": np.zeros((4, 2751), "i4")}, "HDU B_FLUX: numbers of type >i4"),
    "shifted grid": ({"R_WAVELENGTH": 5760.5 + 0.8 * np.arange(2326)}, "HDU R_WAVELENGTH: 5760.5000"),
    "NaN in the grid": ({"R_WAVELENGTH": np.full(2326, np.nan)}, "HDU R_WAVELENGTH: nan"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_content_is_a_problem_that_keeps_the_rows(root: Path, case: str) -> None:
    images, message = WRONG[case]
    DesiFile(images=images).write(root / "coadd-main-dark-1.fits")
    DesiFile().write(root / "coadd-main-dark-2.fits")
    broken, fine = listed(root)
    assert fine.problem is None
    assert broken.rows == 4
    with pytest.raises(ShardCorrupt, match=message):
        DESI.read(survey_spec(root), Task(task_id="", shard=broken, start=0, stop=4))
    ids = DESI.read_ids(survey_spec(root), Task(task_id="", shard=broken, start=1, stop=3))
    assert ids["targetid"].to_pylist() == [39633297352951413, 39633297352951414]


def test_a_grid_within_the_tolerance_is_fine(root: Path) -> None:
    start, pixels = ARMS["B"]
    wave = start + 0.8 * np.arange(pixels) + 5e-5
    DesiFile(images={"B_WAVELENGTH": wave}).write(root / "coadd-main-dark-1.fits")
    assert only(root).problem is None


def test_no_fibermap(root: Path) -> None:
    with fitsio.FITS(str(root / "coadd-main-dark-1.fits"), "rw") as file:
        file.write(np.zeros((2, 2)), extname="B_FLUX")
    broken = only(root)
    assert broken.rows == 0
    assert "HDU FIBERMAP: missing" in str(broken.problem)
    task = Task(task_id="", shard=broken, start=0, stop=0)
    with pytest.raises(ShardCorrupt, match=r"coadd-main-dark-1\.fits: HDU FIBERMAP: missing"):
        DESI.read(survey_spec(root), task)
    ids = DESI.read_ids(survey_spec(root), task)
    assert len(ids) == 0
    assert ids.schema.names == [column.name for column in DESI.columns if column.name not in IMAGES]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return DesiFile(rows=3).write(tmp_path_factory.mktemp("whole") / "coadd-main-dark-1.fits")


@given(share=st.floats(0, 0.99))
def test_truncation_anywhere_is_a_problem(whole: Path, share: float) -> None:
    short = whole.with_name("short.fits")
    short.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    finding = files.inspect(Folder(short.parent), {}, short.name)
    assert finding.problem is not None
    assert not finding.passing
    assert finding.rows in (0, 3)


@given(noise=st.binary(min_size=1, max_size=400), share=st.floats(0, 0.1))
def test_noise_in_the_headers_never_escapes(whole: Path, noise: bytes, share: float) -> None:
    content = bytearray(whole.read_bytes())
    start = int(share * len(content))
    content[start : start + len(noise)] = noise
    broken = whole.with_name("noisy.fits")
    broken.write_bytes(content)
    files.inspect(Folder(broken.parent), {}, broken.name)
    shard = Shard(path=broken.name, size=len(content), rows=3, shard_id="", problem="noise")
    DESI.read_ids(survey_spec(broken.parent), Task(task_id="", shard=shard, start=0, stop=3))


def test_what_cannot_be_reached_is_unavailable_and_not_cached(root: Path) -> None:
    (root / "coadd-main-dark-1.fits").mkdir()
    (root / "coadd-main-dark-2.fits").symlink_to(root / "nowhere")
    for shard in listed(root):
        assert shard.rows == 0
        assert shard.problem is not None
        with pytest.raises(ShardUnavailable):
            DESI.read(survey_spec(root), Task(task_id="", shard=shard, start=0, stop=0))
    DesiFile().write(root / "nowhere")
    assert [shard.rows for shard in listed(root)] == [0, 4]


def test_a_file_that_vanished_after_the_plan(root: Path) -> None:
    path = DesiFile().write(root / "coadd-main-dark-1.fits")
    (task,) = tasks_of(survey_spec(root))
    path.unlink()
    with pytest.raises(ShardUnavailable, match="No such file"):
        DESI.read(survey_spec(root), task)
    assert len(DESI.read_ids(survey_spec(root), task)) == 0


def test_a_file_that_changed_after_the_plan(root: Path) -> None:
    DesiFile().write(root / "coadd-main-dark-1.fits")
    (task,) = tasks_of(survey_spec(root))
    DesiFile(rows=5).write(root / "coadd-main-dark-1.fits")
    with pytest.raises(ShardCorrupt, match="changed since the plan"):
        DESI.read(survey_spec(root), task)


def test_the_cache_saves_inspecting(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    DesiFile().write(root / "coadd-main-dark-1.fits")
    DesiFile(images={"R_IVAR": None}).write(root / "coadd-main-dark-2.fits")
    before = listed(root)
    monkeypatch.setattr(files, "opened", None)
    assert listed(root) == before


def test_a_changed_file_is_inspected_again(root: Path) -> None:
    path = DesiFile().write(root / "coadd-main-dark-1.fits")
    assert only(root).rows == 4
    DesiFile(rows=5).write(path)
    assert only(root).rows == 5
    same_size = bytearray(path.read_bytes())
    same_size[:9] = b"NOT FITS "
    path.write_bytes(same_size)
    os.utime(path, ns=(1, 1))
    assert "not a FITS file" in str(only(root).problem)


def test_a_broken_cache_is_made_again(root: Path, cache: Path) -> None:
    DesiFile().write(root / "coadd-main-dark-1.fits")
    before = listed(root)
    (entry,) = cache.iterdir()
    entry.write_bytes(b"PAR1 nonsense")
    assert listed(root) == before
    assert entry.stat().st_size > 100


def test_a_cache_that_cannot_be_written_is_a_warning(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DesiFile().write(root / "coadd-main-dark-1.fits")
    (tmp_path / "file").touch()
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path / "file" / "below"))
    with pytest.warns(UserWarning, match="not cached"):
        assert only(root).rows == 4


def test_threads_where_the_file_system_is_slow(root: Path) -> None:
    def slow(name: str) -> Finding:
        time.sleep(0.005)
        return Finding(rows=int(name))

    entries = [Entry(name=str(number), size=1, stamp="") for number in range(200)]
    start = time.perf_counter()
    found = index.index_files("slow", Folder(root), entries, slow)
    assert [file.finding.rows for file in found] == list(range(200))
    assert time.perf_counter() - start < 0.7 * 200 * 0.005


def test_gzipped_files_are_listed_by_their_fibermap_and_checked_when_read(root: Path) -> None:
    plain = DesiFile().write(root / "plain.fits").read_bytes()
    (root / "coadd-main-dark-1.fits.gz").write_bytes(gzip.compress(plain, 1))
    (root / "coadd-main-dark-2.fits.gz").write_bytes(gzip.compress(plain, 1)[:-5000])
    (root / "coadd-main-dark-3.fits.gz").write_bytes(b"not gzip")
    wrong = DesiFile(images={"R_FLUX": None}).write(root / "plain.fits").read_bytes()
    (root / "coadd-main-dark-4.fits.gz").write_bytes(gzip.compress(wrong, 1))
    shards = listed(root)
    assert [shard.rows for shard in shards] == [4, 4, 0, 4]
    assert [shard.problem is None for shard in shards] == [True, True, False, True]
    spec = survey_spec(root)
    tasks = tasks_of(spec)
    assert len(DESI.read(spec, tasks[0])) == 4
    for task, message in zip(tasks[1:], ("broken gzip", "broken gzip", "R_FLUX: missing"), strict=True):
        with pytest.raises(ShardCorrupt, match=message):
            DESI.read(spec, task)
    shutil.copy(root / "coadd-main-dark-1.fits.gz", root / "coadd-main-dark-2.fits.gz")
    (root / "coadd-main-dark-3.fits.gz").unlink()
    (root / "coadd-main-dark-4.fits.gz").unlink()
    assert len(read_all(root)) == 8
