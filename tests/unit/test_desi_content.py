"""A file is known by its content: one rewritten with its old size is another, wherever it is met."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

from engine.errors import ShardCorrupt, ShardUnavailable
from engine.surveys.desi import DESI
from engine.surveys.fingerprint import BLOCK_BYTES, BLOCKS, fingerprint
from engine.types import Shard
from tests.unit.desi_files import DesiFile, survey_spec, tasks_of, write_redrock

pytestmark = pytest.mark.usefixtures("cache")

FIRST = 39633297352951412
NAME, BESIDE = "coadd-main-dark-1.fits", "redrock-main-dark-1.fits"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A spectra file and its redrock file."""
    DesiFile().write(tmp_path / "desi" / NAME)
    write_redrock(tmp_path / "desi" / BESIDE, FIRST + np.arange(4))
    return tmp_path / "desi"


def only(root: Path) -> Shard:
    (shard,) = DESI.list_shards(survey_spec(root))
    return shard


def poke(path: Path, place: int) -> None:
    """Change one byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("size", [0, 1, 5000, BLOCKS * BLOCK_BYTES])
def test_a_small_file_is_hashed_whole(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    seen = {fingerprint(path)}
    for place in range(0, size, 997):
        poke(path, place)
        seen.add(fingerprint(path))
    assert len(seen) == 1 + len(range(0, size, 997))


def test_a_large_file_is_known_by_its_size_and_by_blocks_from_first_to_last_byte(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10**6))
    seen = {fingerprint(path)}
    for place in (0, -1, *(round(k * (10**6 - BLOCK_BYTES) / (BLOCKS - 1)) + 9 for k in range(BLOCKS))):
        poke(path, place)
        seen.add(fingerprint(path))
    path.write_bytes(bytes(10**6 + 1))
    assert len({*seen, fingerprint(path)}) == BLOCKS + 4


def test_where_no_file_can_be_read_there_is_no_fingerprint(tmp_path: Path) -> None:
    assert fingerprint(tmp_path) == fingerprint(tmp_path / "absent") == ""


def test_dates_do_not_count(root: Path, cache: Path) -> None:
    before = only(root)
    os.utime(root / NAME, ns=(1, 1))
    os.utime(root / BESIDE, ns=(1, 1))
    assert only(root) == before
    [index] = cache.iterdir()
    index.unlink()
    assert only(root) == before


def other_flux(root: Path) -> None:
    DesiFile(seed=1).write(root / NAME)


def other_redshifts(root: Path) -> None:
    write_redrock(root / BESIDE, FIRST + np.arange(4), Z=np.full(4, 2e-4))


def no_redrock(root: Path) -> None:
    (root / BESIDE).unlink()


CHANGES = {
    other_flux: (ShardCorrupt, rf"{NAME}: changed since the plan; plan again"),
    other_redshifts: (ShardCorrupt, rf"{BESIDE}: changed since the plan; plan again"),
    no_redrock: (ShardUnavailable, rf"{BESIDE}: cannot be read any more"),
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_another_content_is_another_shard_and_refused_by_an_older_plan(
    root: Path, change: Callable[[Path], None]
) -> None:
    spec = survey_spec(root, rv={"from": "redrock"})
    [task] = tasks_of(spec)
    sizes = [(root / name).stat().st_size for name in (NAME, BESIDE)]
    change(root)
    assert change is no_redrock or [(root / name).stat().st_size for name in (NAME, BESIDE)] == sizes
    assert only(root).shard_id != task.shard.shard_id
    error, message = CHANGES[change]
    with pytest.raises(error, match=message):
        DESI.read(spec, task)
    assert len(DESI.read_ids(spec, task)) == 4


def test_a_redrock_file_that_came_after_the_plan_is_refused(root: Path) -> None:
    away = (root / BESIDE).rename(root / "away")
    spec = survey_spec(root, rv={"from": "redrock"})
    [task] = tasks_of(spec)
    away.rename(root / BESIDE)
    with pytest.raises(ShardCorrupt, match="changed since the plan"):
        DESI.read(spec, task)


def test_checksums_in_the_headers_tell_of_what_no_block_saw(root: Path) -> None:
    def write(value: float) -> int:
        with fits.open(root / NAME, mode="update") as hdus:
            # Far from any block: the fingerprint stays.
            hdus["R_FLUX"].data[1, 7] = value
            hdus["R_FLUX"].add_checksum(when="today")
        return (root / NAME).stat().st_size

    size, before = write(1.0), only(root)
    assert write(2.0) == size
    after = only(root)
    assert after.fingerprint == before.fingerprint
    assert after.shard_id != before.shard_id


def test_a_gzipped_file_is_known_by_its_packed_bytes(root: Path) -> None:
    packed = root / f"{NAME}.gz"
    packed.write_bytes(gzip.compress((root / NAME).read_bytes(), 0, mtime=0))
    size = packed.stat().st_size
    other_flux(root)
    again = gzip.compress((root / NAME).read_bytes(), 0, mtime=0)
    (root / NAME).unlink()
    spec = survey_spec(root)
    [task] = tasks_of(spec)
    assert len(DESI.read(spec, task)) == 4
    packed.write_bytes(again)
    assert len(again) == size
    assert only(root).shard_id != task.shard.shard_id
    with pytest.raises(ShardCorrupt, match="changed since the plan"):
        DESI.read(spec, task)


def test_a_redrock_file_that_could_not_be_read_is_looked_at_again(root: Path, cache: Path) -> None:
    (root / BESIDE).unlink()
    (root / BESIDE).mkdir()
    assert only(root).fingerprint_beside == ""
    [index] = cache.iterdir()
    assert pq.read_table(index).num_rows == 0
