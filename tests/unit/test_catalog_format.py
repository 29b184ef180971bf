"""The published files: a HATS catalog, sorted and encoded as decided, cut by position."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogs.groups import GROUP_FILES, group
from catalogs.layout import BLOOM_COLUMNS, Layout, write_partition
from catalogs.pixels import Tally, align, slots
from catalogs.stage import receipts
from tests.unit.catalog_rows import FIRST_ID, KEY_NAMES, layout, staged, tasks

pytestmark = pytest.mark.usefixtures("small_groups")


def test_hats_and_lsdb_accept_the_catalog(reference: Layout) -> None:
    import lsdb
    from hats.io.validation import is_valid_catalog

    assert is_valid_catalog(reference.catalog, strict=True)
    opened = lsdb.open_catalog(reference.catalog)
    assert len(opened) == 900
    ids = set(opened[["targetid"]].compute()["targetid"].tolist())
    assert ids == set(range(FIRST_ID, FIRST_ID + 1800, 2))
    info = opened.hc_structure.catalog_info
    assert (info.healpix_column, info.healpix_order) == ("_healpix_29", 29)


def test_partitions_are_sorted_and_encoded_as_decided(reference: Layout) -> None:
    for path in reference.catalog.rglob("Npix=*.parquet"):
        rows = pq.ParquetFile(path).read()
        assert rows.equals(rows.sort_by([(name, "ascending") for name in ("_healpix_29", *KEY_NAMES)]))
        group = pq.read_metadata(path).row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
        assert {column.compression for column in columns.values()} == {"ZSTD"}
        for name in ("_healpix_29", "gaia_source_id"):
            assert "DELTA_BINARY_PACKED" in columns[name].encodings
        for name in ("teff", "ra", "targetid"):
            assert "BYTE_STREAM_SPLIT" in columns[name].encodings
        assert "RLE_DICTIONARY" in columns["program"].encodings
        assert all(column.has_column_index for column in columns.values())


def test_numbers_that_count_something_are_kept_as_a_dictionary(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    counts, path = rng.integers(0, 50, 5_000), tmp_path / "Npix=0.parquet"
    rows = pa.table({"gap": pa.array(counts, pa.float32()), "snr": pa.array(rng.random(5_000), pa.float32())})
    write_partition(path, rows)
    group = pq.read_metadata(path).row_group(0)
    assert ["RLE_DICTIONARY" in group.column(i).encodings for i in range(2)] == [True, False]
    assert pq.read_table(path).equals(rows)


def test_bloom_filters_are_on_ids_only(reference: Layout) -> None:
    import duckdb

    path = next(reference.catalog.rglob("Npix=*.parquet"))
    sql = f"SELECT path_in_schema FROM parquet_metadata('{path}') WHERE bloom_filter_offset IS NOT NULL"
    with duckdb.connect() as con:
        assert {row[0] for row in con.execute(sql).fetchall()} == set(BLOOM_COLUMNS)


def test_staged_files_are_grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = layout(tmp_path)
    staged(where, tasks(5, 20))
    found = receipts(where)
    monkeypatch.setattr("catalogs.groups.GROUP_BYTES", found[0].bytes * 3)
    monkeypatch.setattr("catalogs.groups.GROUP_FILES", GROUP_FILES)
    assert [len(one.receipts) for one in group(where.staging, found)] in ([3, 2], [2, 2, 1])
    monkeypatch.setattr("catalogs.groups.GROUP_BYTES", 1)
    assert [len(one.receipts) for one in group(where.staging, found)] == [1] * 5


FINEST = 4
CLUMP = 2 * (29 - FINEST)
indices = st.lists(st.integers(0, 12 * 4**29 - 1), min_size=1, max_size=60)
pixel_numbers = st.integers(0, 12 * 4**FINEST - 1)
clumps = st.tuples(pixel_numbers, st.integers(1, 50)).map(lambda c: [c[0] << CLUMP] * c[1])


@given(index=st.tuples(indices, clumps).map(lambda both: both[0] + both[1]), target=st.integers(1, 5000))
@settings(max_examples=150)
def test_any_positions_fall_into_exactly_one_partition(index: list[int], target: int) -> None:
    index_N = np.array(index)
    found, counts = np.unique(index_N >> CLUMP, return_counts=True)
    tally = Tally(indexes=tuple(found), counts=tuple(counts), bytes=100 * len(index), widths={})
    with pytest.MonkeyPatch.context() as patch:  # hats' loops over the sky are slow at order 8
        patch.setattr("catalogs.pixels.SKY_ORDER", FINEST)
        pixels = align(tally, target)
    homes = [[p for p in pixels if p.number == i >> 2 * (29 - p.order)] for i in index]
    assert all(len(home) == 1 for home in homes)
    assert [pixels[slot] for slot in slots(pixels, index_N)] == [home[0] for home in homes]
    pairs = list(zip(index, homes, strict=True))
    inside = {pixel: [i for i, home in pairs if home[0] == pixel] for pixel in pixels}
    assert all(inside.values())
    most = max(1, target // 100)
    assert all(len(rows) <= most or len({i >> CLUMP for i in rows}) == 1 for rows in inside.values())
