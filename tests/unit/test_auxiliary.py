"""Joining [[auxiliary]] tables: exact ids, NULL for what is missing, every format the same."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.auxiliary import join, joined_columns, open_tables, published_columns, table_digests
from engine.auxiliary.lookup import rows_of
from engine.auxiliary.sorted_copy import MOST_ROWS, PART_ROWS
from engine.auxiliary.tables import copy_of
from engine.columns import schema
from engine.errors import PlanError, ShardUnavailable
from engine.spec import Auxiliary
from tests.unit.auxiliary_tables import BIG, COLUMNS, asked, csv_file, fits, folder, parquet, spectra

STARS: dict[str, Any] = {
    "source_id": [BIG + 2, BIG, BIG + 1],
    "g": pa.array([12.5, 11.25, None], pa.float64()),
    "plx": pa.array([math.nan, 1.5, -0.25], pa.float64()),
    "solved": pa.array([31, None, 95], pa.int64()),
    "bp": pa.array([[1.0, 2.0], None, [5.0, 6.0]], pa.list_(pa.float64())),
}
ASKED = {"phot_g_mean_mag": "g", "parallax": "plx", "astrometric_params_solved": "solved", "bp_terms": "bp"}


def joined(batch: pa.Table, *specs: Auxiliary) -> pa.Table:
    return join(batch, open_tables(specs, COLUMNS))


def test_neighbouring_ids_beyond_2_53_are_told_apart(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", STARS)
    batch = joined(spectra([BIG + 1, BIG, BIG + 3, None, BIG + 2, BIG]), asked(path, columns=ASKED))
    assert batch["phot_g_mean_mag"].to_pylist() == [None, 11.25, None, None, 12.5, 11.25]
    assert batch["parallax"].to_pylist() == [-0.25, 1.5, None, None, None, 1.5]
    assert batch["bp_terms"].combine_chunks().to_pylist() == [[5, 6], None, None, None, [1, 2], None]
    assert batch["row_in_shard"].to_pylist() == list(range(6))


def test_what_is_missing_is_counted_row_by_row(tmp_path: Path) -> None:
    path = parquet(tmp_path / "t.parquet", STARS)
    batch = joined(spectra([BIG + 1, BIG, BIG + 3, None, BIG + 2]), asked(path, columns=ASKED))
    assert batch["auxiliary_missing"].to_pylist() == [1, 2, 4, 4, 1]


def test_nothing_asked_leaves_the_batch_as_it_was() -> None:
    batch = spectra([1, 2])
    assert join(batch, ()).equals(batch)
    assert batch["auxiliary_missing"].null_count == 2


@pytest.mark.parametrize(
    "write",
    [
        lambda at: folder(at / "t", STARS),
        lambda at: csv_file(at / "t.csv", STARS),
        lambda at: csv_file(at / "t.csv", STARS, above="# %ECSV 1.0\n# ---\n"),
        lambda at: fits(at / "t.fits", STARS),
    ],
    ids=["folder", "csv", "ecsv header", "fits"],
)
def test_every_format_gives_the_same(tmp_path: Path, write: Any) -> None:
    batch = spectra([BIG + 1, BIG, None, BIG + 2])
    reference = joined(batch, asked(parquet(tmp_path / "r.parquet", STARS), columns=ASKED))
    assert joined(batch, asked(write(tmp_path), columns=ASKED)).equals(reference)


def test_gzipped_csv_and_fixed_arrays_in_fits(tmp_path: Path) -> None:
    import gzip

    import fitsio

    batch = spectra([BIG + 2, BIG])
    plain = csv_file(tmp_path / "t.csv", STARS)
    packed = tmp_path / "t.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert joined(batch, asked(packed)).equals(joined(batch, asked(plain)))
    rows = {"source_id": np.array([BIG, BIG + 2]), "xp": np.array([[1, 2, 3], [4, np.nan, 6]], "f4")}
    fitsio.write(str(tmp_path / "x.fits"), rows)
    found = joined(batch, asked(tmp_path / "x.fits", columns={"xp": "xp"}))
    assert found.schema.field("xp").type == pa.fixed_shape_tensor(pa.float32(), [3])
    # With one element missing the array is missing.
    assert found["xp"].combine_chunks().to_pylist() == [None, [1, 2, 3]]


def test_text_keys_match_text_columns(tmp_path: Path) -> None:
    stars = {"name": ["é", "2M00000032", "Z", "a"], "g": [1.0, 2.0, 3.0, 4.0]}
    batch = spectra([1, 2, 3, 4], obs_id=["a", "é", "2M00000032", None])
    for path in (parquet(tmp_path / "t.parquet", stars), csv_file(tmp_path / "t.csv", stars)):
        found = joined(batch, asked(path, key="name", match="obs_id"))
        assert found["phot_g_mean_mag"].to_pylist() == [4, 1, 2, None]


def test_the_table_wins_where_it_has_a_value(tmp_path: Path) -> None:
    stars = {"source_id": [1, 2], "g": pa.array([10.0, None], pa.float64())}
    batch = spectra([1, 2, 3], phot_g_mean_mag=[5, 6, None])
    found = joined(batch, asked(parquet(tmp_path / "t.parquet", stars)))
    assert found["phot_g_mean_mag"].to_pylist() == [10, 6, None]
    assert found["auxiliary_missing"].to_pylist() == [0, 0, 1]
    assert found.schema.equals(schema(COLUMNS))


def test_positions_and_velocities_come_whole_and_say_where_from(tmp_path: Path) -> None:
    stars = {
        "source_id": [1, 2, 3],
        "ra": pa.array([10.0, 20.0, 30.0]),
        "dec": pa.array([1.0, None, -9999.0]),
        "v": pa.array([100.0, None, 50.0]),
        "e": pa.array([None, 3.0, 1.0], pa.float64()),
    }
    path = parquet(tmp_path / "t.parquet", stars)
    own = {"ra": [5.0] * 3, "dec": [6.0] * 3, "position_source": ["survey"] * 3}
    own |= {"rv": [-7.0] * 3, "rv_err": [8.0] * 3, "rv_source": ["redrock"] * 3, "rv_warn": [4] * 3}
    columns = {"ra": "ra", "dec": "dec", "rv": "v", "rv_err": "e"}
    found = joined(spectra([1, 2, 3], **own), asked(path, columns=columns))
    assert found.select(["ra", "dec", "position_source"]).to_pylist() == [
        {"ra": 10, "dec": 1, "position_source": "table"},
        {"ra": 5, "dec": 6, "position_source": "survey"},
        {"ra": 5, "dec": 6, "position_source": "survey"},
    ]
    # No error of another velocity stands beside the table's.
    assert found.select(["rv", "rv_err", "rv_source", "rv_warn"]).to_pylist() == [
        {"rv": 100, "rv_err": None, "rv_source": "table", "rv_warn": None},
        {"rv": -7, "rv_err": 8, "rv_source": "redrock", "rv_warn": 4},
        {"rv": 50, "rv_err": 1, "rv_source": "table", "rv_warn": None},
    ]


def test_only_the_named_numbers_stand_for_no_value(tmp_path: Path) -> None:
    stars = {
        "source_id": [1, 2, 3, 4],
        "g": pa.array([-9999.99, 99.99, 0.0, math.inf], pa.float32()),
        "xp": [[1.0, -9999.99], [1.0, 2.0], [0.0, 0.0], [3.0, 4.0]],
    }
    path = parquet(tmp_path / "t.parquet", stars)
    columns = {"phot_g_mean_mag": "g", "xp": "xp"}
    batch = spectra([1, 2, 3, 4])
    kept = joined(batch, asked(path, columns=columns))
    assert kept["phot_g_mean_mag"].to_pylist() == pytest.approx([-9999.99, 99.99, 0, None])
    assert kept["xp"].null_count == 0
    named = joined(batch, asked(path, columns=columns, missing=[-9999.99]))
    assert named["phot_g_mean_mag"].to_pylist() == pytest.approx([None, 99.99, 0, None])
    assert named["xp"].combine_chunks().to_pylist() == [None, [1, 2], [0, 0], [3, 4]]


def test_a_table_can_give_the_id_that_the_next_one_is_matched_by(tmp_path: Path) -> None:
    match = parquet(tmp_path / "match.parquet", {"target": [7, 8], "gaia": [BIG, BIG + 1]})
    stars = parquet(tmp_path / "t.parquet", STARS)
    first = asked(match, key="target", match="targetid", columns={"gaia_source_id": "gaia"})
    found = joined(spectra([None, None], targetid=[8, 7]), first, asked(stars))
    assert found["gaia_source_id"].to_pylist() == [BIG + 1, BIG]
    assert found["phot_g_mean_mag"].to_pylist() == [None, 11.25]


def test_new_columns_have_one_order_and_only_scalars_are_published(tmp_path: Path) -> None:
    wide = {"source_id": [1], **{name: [1.0] for name in "abcd"}, "v": [[1.0]], "w": [[1.0]]}
    path = parquet(tmp_path / "t.parquet", wide)
    names = {"w_terms": "w", "a_v": "a", "tmass_ks": "b", "bp_terms": "v", "tmass_j": "c", "ebv": "d"}
    tables = open_tables([asked(path, columns=names)], COLUMNS)
    turned = open_tables([asked(path, columns=dict(reversed(names.items())))], COLUMNS)
    assert [c.name for c in joined_columns(tables)] == ["tmass_j", "tmass_ks", "a_v", "bp_terms", "w_terms"]
    assert [c.name for c in published_columns(tables)] == ["tmass_j", "tmass_ks", "a_v"]
    assert joined_columns(turned) == joined_columns(tables)
    assert join(spectra([1]), tables).schema.equals(schema([*COLUMNS, *joined_columns(tables)]))


def test_an_empty_batch_and_ids_outside_the_table(tmp_path: Path) -> None:
    tables = open_tables([asked(parquet(tmp_path / "t.parquet", STARS), columns=ASKED)], COLUMNS)
    for ids in ([], [None], [-5], [BIG + 99, -(2**63), 2**63 - 1]):
        found = join(spectra(ids), tables)
        assert found["auxiliary_missing"].to_pylist() == [4] * len(ids)
        assert found.schema.equals(schema([*COLUMNS, *joined_columns(tables)]))


def test_a_lookup_finds_each_row_across_groups_and_files(tmp_path: Path) -> None:
    rows = PART_ROWS + 2 * MOST_ROWS + 5
    ids = np.random.default_rng(1).permutation(rows).astype(np.int64) * 3 + BIG
    path = parquet(tmp_path / "t.parquet", {"source_id": ids, "g": (ids - BIG) / 3.0})
    (table,) = open_tables([asked(path)], COLUMNS)
    copy = copy_of(table)
    assert sum(pq.read_metadata(part).num_rows for part in copy.glob("part-*")) == rows
    asked_for = pa.array(np.concatenate([ids[::37], ids[:50] + 1]))
    found = rows_of(copy, asked_for)["phot_g_mean_mag"]
    assert found.to_numpy()[: len(ids[::37])].tolist() == ((ids[::37] - BIG) / 3.0).astype("f4").tolist()
    assert found.slice(len(ids[::37])).null_count == 50


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.dictionaries(
        st.integers(-(2**63), 2**63 - 1) | st.integers(BIG, BIG + 20),
        st.tuples(
            st.none() | st.floats(width=32),
            st.none() | st.lists(st.none() | st.floats(width=32), min_size=2, max_size=2),
        ),
        min_size=1,
        max_size=30,
    ),
    extra=st.lists(st.none() | st.integers(BIG, BIG + 20), max_size=20),
    data=st.data(),
)
def test_a_join_is_a_lookup_in_a_dict(tmp_path: Path, rows: dict, extra: list, data: st.DataObject) -> None:
    known = list(rows)
    # A column of arrays that is missing throughout is refused; its own test says so.
    rows |= {BIG + 21: (1.0, [1.0, 2.0])}
    table = {
        "source_id": list(rows),
        "g": pa.array([g for g, _ in rows.values()], pa.float32()),
        "xp": pa.array([xp for _, xp in rows.values()], pa.list_(pa.float32())),
    }
    path = parquet(tmp_path / "t.parquet", table)
    ids = data.draw(st.permutations([*known, *known, *extra]))
    found = joined(spectra(ids), asked(path, columns={"phot_g_mean_mag": "g", "xp": "xp"}))

    def number(x: float | None) -> bool:
        return x is not None and math.isfinite(x)

    expected = [rows.get(one, (None, None)) for one in ids]
    scalars = [g if number(g) else None for g, _ in expected]
    arrays = [xp if xp is not None and all(map(number, xp)) else None for _, xp in expected]
    assert found["phot_g_mean_mag"].to_pylist() == scalars
    assert found["xp"].combine_chunks().to_pylist() == arrays
    missing = [(g is None) + (xp is None) for g, xp in zip(scalars, arrays, strict=True)]
    assert found["auxiliary_missing"].to_pylist() == missing


def test_a_copy_is_made_again_where_it_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    path = parquet(tmp_path / "t.parquet", STARS)
    tables = open_tables([asked(path)], COLUMNS)
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path / "another machine"))
    moved = pickle.loads(pickle.dumps(tables))
    assert join(spectra([BIG]), moved)["phot_g_mean_mag"].to_pylist() == [11.25]
    # The content names it: a changed table is another table, and the plan's digest another.
    parquet(path, STARS | {"g": [1.0, 2.0, 3.0]})
    assert table_digests(open_tables([asked(path)], COLUMNS)) != table_digests(tables)
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path / "a third"))
    with pytest.raises(PlanError, match="changed since the plan; plan again"):
        join(spectra([BIG]), tables)


def test_a_damaged_copy_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABUNDANT_CACHE", str(tmp_path / "cache"))
    tables = open_tables([asked(parquet(tmp_path / "t.parquet", STARS))], COLUMNS)
    (copy_of(tables[0]) / "part-00000.parquet").write_bytes(b"PAR1")
    with pytest.raises(ShardUnavailable, match=r"t\.parquet .*remove it"):
        join(spectra([BIG]), tables)
