"""What is counted of a catalog in SQL is what numpy counts of its rows."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from catalogs import open_catalog
from catalogs.layout import Layout
from catalogs.overview import Overview, overview
from catalogs.overview.bins import Bins, count, inner, quantiles, span
from catalogs.overview.known import ratios
from catalogs.overview.measure import steps
from catalogs.read import Catalog
from engine.errors import VerifyError
from tests.unit.catalog_rows import RANGES, Rows, layout, publish, staged, stars, tasks
from tests.unit.catalog_rows import table as table_of

CARD = {
    "name": "small",
    "labels": [{"name": name, "low": low, "high": high} for name, (low, high) in RANGES.items()],
}


def outside(table: pa.Table) -> pa.Table:
    """Some rows leave the training range, some are bad, a few have no S/N."""
    at = np.arange(len(table))
    teff = np.where(at % 9 == 0, 7500, table["teff"].to_numpy()).astype(np.float32)
    none = table["teff"].is_null().to_numpy()
    columns: dict[str, Any] = {
        "teff": pa.array(teff, mask=none),
        "flag_teff": np.where(none, 4, np.where(at % 9 == 0, 2, 0)).astype(np.int16),
        "flag_bad": table["flag_bad"].to_numpy() | (at % 13 == 0),
        "snr": pa.array(table["snr"].to_numpy(), mask=at % 50 == 0),
    }
    for name, values in columns.items():
        place = table.schema.get_field_index(name)
        field = table.schema.field(name)
        table = table.set_column(place, field, pa.array(values, field.type))
    return table


def made(root: Path, tables: dict[str, pa.Table], failures: dict[str, str] | None = None) -> Layout:
    where = layout(root)
    staged(where, tables, failures)
    publish(where, [*tables], failed_allowed=len(failures or {}), also={"plan": {"card": CARD, "spec": {}}})
    where.plan.write_bytes(json.dumps({"digest": where.plan_digest}).encode())
    return where


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    tables = {name: outside(table) for name, table in tasks(4, 600).items()}
    where = made(tmp_path_factory.mktemp("overview"), tables, {"t002": "truncated <FITS>"})
    return open_catalog(where.catalog)


@pytest.fixture(scope="module")
def found(catalog: Catalog) -> Overview:
    said: list[str] = []
    found = overview(catalog, said.append)
    assert len(said) == steps(catalog)
    return found


@pytest.fixture(scope="module")
def rows(catalog: Catalog) -> dict[str, np.ndarray]:
    table = catalog.to_arrow()
    return {field.name: table[field.name].to_pandas().to_numpy() for field in table.schema}


def good(rows: dict[str, np.ndarray], *labels: str) -> np.ndarray:
    kept = ~rows["flag_bad"].astype(bool)
    for label in labels:
        kept &= np.isfinite(rows[label]) & (rows[f"flag_{label}"] == 0)
    return kept


def test_distributions_are_histograms_of_rows(found: Overview, rows: dict[str, np.ndarray]) -> None:
    kept = ~rows["flag_bad"].astype(bool)
    for one in found.distributions:
        values = rows[one.name][kept & np.isfinite(rows[one.name])].astype(float)
        np.testing.assert_array_equal(one.count_B, np.histogram(values, bins=one.edges)[0])
        assert (one.low, one.high) == RANGES[one.name]
        assert one.rows == len(values) == one.count_B.sum() + one.outside_frame
    teff = found.distributions[0]
    assert teff.above == (kept & (rows["flag_teff"] == 2)).sum() > 0
    assert teff.below == 0
    assert 0.5 < (teff.occupied or 0) <= 1


def test_the_kiel_diagram_counts_good_rows_and_finds_their_median(
    found: Overview, rows: dict[str, np.ndarray]
) -> None:
    plane = found.kiel
    assert plane is not None and plane.z == "fe_h" and plane.median_XY is not None
    kept = good(rows, "teff", "logg", "fe_h")
    teff, logg, fe_h = (rows[label][kept].astype(float) for label in ("teff", "logg", "fe_h"))
    counts = np.histogram2d(teff, logg, bins=(plane.x_edges, plane.y_edges))[0]
    np.testing.assert_array_equal(plane.count_XY, counts)
    assert plane.rows == kept.sum() == plane.beyond + counts.sum()
    assert np.array_equal(np.isfinite(plane.median_XY), counts > 0)
    x, y = np.unravel_index(np.argmax(counts), counts.shape)
    here = (np.digitize(teff, plane.x_edges) == x + 1) & (np.digitize(logg, plane.y_edges) == y + 1)
    assert plane.median_XY[x, y] == pytest.approx(np.median(fe_h[here]), abs=0.06)


def test_ratios_are_columns_or_differences(found: Overview, rows: dict[str, np.ndarray]) -> None:
    [plane] = found.ratios
    kept = good(rows, "mg_fe", "fe_h")
    pair = [rows[label][kept].astype(float) for label in ("fe_h", "mg_fe")]
    np.testing.assert_array_equal(
        plane.count_XY, np.histogram2d(*pair, bins=(plane.x_edges, plane.y_edges))[0]
    )
    made = ratios(("teff", "fe_h", "mg_h", "mg_fe", "ti_2_h", "alpha_m", "m_h"))
    said = {one.name: (one.base, one.column, one.minuend) for one in made}
    assert said == {
        "mg_fe": ("fe_h", "mg_fe", None),
        "alpha_m": ("m_h", "alpha_m", None),
        "ti_2_fe": ("fe_h", None, "ti_2_h"),
    }
    assert ratios(("teff", "logg", "mg_h", "a_li")) == ()


def test_errors_along_snr_are_quantiles_of_rows(found: Overview, rows: dict[str, np.ndarray]) -> None:
    one = next(one for one in found.errors if one.name == "fe_h")
    assert set(one.bands) == {"total", "model"}  # the noise is NULL
    kept = good(rows, "fe_h") & (np.nan_to_num(rows["snr"]) > 0)
    assert one.rows == kept.sum() - _beyond(rows["snr"][kept], one.snr_edges)
    step = np.digitize(rows["snr"], one.snr_edges) - 1
    for part, column in (("total", "e_fe_h"), ("model", "e_fe_h_model")):
        band = one.bands[part]
        for at in (15, 20, 22):
            values = rows[column][kept & (step == at)]
            assert len(values) >= 20
            wanted = np.percentile(values, (16, 50, 84), method="linear")
            assert (band.low_S[at], band.median_S[at], band.high_S[at]) == pytest.approx(wanted, rel=0.05)


def _beyond(snr: np.ndarray, edges: np.ndarray) -> int:
    return int(((snr < edges[0]) | (snr >= edges[-1])).sum())


def test_outcomes_share_out_every_row(found: Overview, catalog: Catalog, rows: dict[str, np.ndarray]) -> None:
    assert found.outcomes is not None
    count_SO = found.outcomes.count_SO
    assert count_SO.sum() + found.outcomes.unknown == catalog.rows
    snr, bad = np.nan_to_num(rows["snr"]) > 0, rows["flag_bad"].astype(bool)
    none, warn = rows["flags"] & 1 != 0, rows["flag_warn"].astype(bool)
    wanted = [~none & ~bad & ~warn, ~none & ~bad & warn, ~none & bad, none]
    assert count_SO.sum(axis=0).tolist() == [int((snr & kind).sum()) for kind in wanted]


def test_the_sky_holds_every_row_with_a_position(found: Overview, rows: dict[str, np.ndarray]) -> None:
    assert found.sky is not None and found.zoom is None
    pixels, counts = np.unique(rows["_healpix_29"] >> (2 * (29 - found.sky.order)), return_counts=True)
    np.testing.assert_array_equal(found.sky.pixel_H, pixels)
    np.testing.assert_array_equal(found.sky.count_H, counts)
    assert found.sky.without_position == 0


def test_stars_failures_and_seconds(found: Overview, rows: dict[str, np.ndarray]) -> None:
    assert found.stars == len(np.unique(rows["targetid"])) == 2400
    assert found.stars_with_result == (rows["flags"] & 1 == 0).sum()
    [failed] = found.failures
    assert (failed.reason, failed.tasks, failed.rows) == ("truncated <FITS>", 1, 600)
    assert failed.example == "shard-t002"
    [none] = found.no_result
    assert (none.reason, none.rows) == ("NO_RESULT", (rows["flags"] & 1).sum())
    assert found.speed is not None
    assert (found.speed.tasks, found.speed.rows) == (4, 2400)
    assert found.speed.seconds["draw"] == pytest.approx(0.4)
    assert found.speed.seconds["stage"] > 0
    assert list(found.speed.commit)[-1] == "describe"
    assert (found.speed.labelling, found.speed.workers) == (None, 0)


def test_positions_may_be_missing_or_close_together(tmp_path: Path) -> None:
    table = stars(200, task_id="t000")
    place = {name: table.schema.get_field_index(name) for name in ("ra", "dec", "_healpix_29")}
    nowhere = table
    for name, index in place.items():
        values = pa.array(np.zeros(200, np.int64)) if name == "_healpix_29" else pa.nulls(200, pa.float64())
        nowhere = nowhere.set_column(index, nowhere.schema.field(name), values)
    found = overview(open_catalog(made(tmp_path / "none", {"t000": nowhere}).catalog))
    assert found.sky is None and found.zoom is None
    ra, dec = np.random.default_rng(0).uniform(0, 2, (2, 200))
    close = made(tmp_path / "near", {"t000": table_of(Rows(ra=(ra + 359) % 360, dec=dec, task_id="t000"))})
    near = overview(open_catalog(close.catalog)).zoom
    assert near is not None and near.order > 5 and near.count_H.sum() == 200


def test_a_damaged_catalog_is_named(tmp_path: Path) -> None:
    where = made(tmp_path, {"t000": stars(50, task_id="t000")})
    victim = next(Path(str(where.catalog)).rglob("Npix=*.parquet"))
    catalog = open_catalog(where.catalog)
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(VerifyError, match=victim.name):
        overview(catalog)


def test_bins_say_what_lies_at_their_ends(catalog: Catalog) -> None:
    axis = Bins(sql="teff", low=4000, high=5000, number=10)
    with catalog.duckdb() as con:
        counts = count(con, "teff IS NOT NULL", axis)
    values = catalog.to_arrow(["teff"])["teff"].drop_null().to_numpy()
    assert (counts[0], counts[-1]) == ((values < 4000).sum(), (values >= 5000).sum())
    assert counts.sum() == len(values)


def test_span_and_quantiles_of_counts() -> None:
    edges = np.arange(11.0)
    counts = np.array([1, 0, 0, 500, 500, 0, 0, 0, 0, 1])
    assert span(counts, edges, 0.99) == (3.0, 5.0)
    assert span(counts * 0, edges) == (0.0, 10.0)
    found = quantiles(np.array([counts, counts * 0]), edges, (0.25, 0.5, 0.75))
    assert found[:, 0] == pytest.approx([3.5, 4.0, 4.5], abs=0.01)
    assert np.isnan(found[:, 1]).all()
    assert inner(np.zeros((5, 7))).shape == (3, 5)
