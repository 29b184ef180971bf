"""The parallax zero-point is the package's, and NULL where that is not valid."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from zero_point import zpt

from engine.auxiliary import join, open_tables, published_columns
from tests.unit.auxiliary_tables import COLUMNS, asked, parquet, spectra

GAIA = {
    "nu_eff_used_in_astrometry": "nu",
    "pseudocolour": "pc",
    "ecl_lat": "lat",
    "astrometric_params_solved": "solved",
}
# G, effective wavenumber, pseudocolour, ecliptic latitude, parameters solved for.
VALID = [(10.5, 1.5, None, 20.0, 31), (17.25, None, 1.4, -60.0, 95), (12.0, 1.25, 1.3, 0.0, 31)]
INVALID = [
    (6.0, 1.5, None, 20.0, 31),
    (21.0, 1.5, None, 20.0, 31),
    (10.0, 1.05, None, 20.0, 31),
    (10.0, None, 1.75, 20.0, 95),
    (10.0, None, None, 20.0, 3),
    (10.0, None, 1.4, 20.0, 31),
    (10.0, 1.5, None, None, 31),
    (10.0, 1.5, None, 20.0, None),
    (None, 1.5, None, 20.0, 31),
]


def zero_points(tmp_path: Path, stars: list[tuple[Any, ...]]) -> pa.Table:
    columns: dict[str, Any] = {"source_id": list(range(len(stars)))}
    for name, values in zip(("g", "nu", "pc", "lat"), zip(*stars, strict=True), strict=False):
        columns[name] = pa.array(values, pa.float64())
    columns["solved"] = pa.array([star[4] for star in stars], pa.int16())
    path = parquet(tmp_path / "t.parquet", columns)
    tables = open_tables([asked(path, columns=GAIA | {"phot_g_mean_mag": "g"})], COLUMNS)
    return join(spectra(columns["source_id"]), tables)


def test_it_is_what_the_package_says(tmp_path: Path) -> None:
    zpt.load_tables()
    found = zero_points(tmp_path, VALID)["parallax_zero_point"].to_pylist()
    # Rounded to 1e-6 mas there; G and colours in single precision here.
    assert found == pytest.approx([zpt.get_zpt(*([x] for x in star))[0] for star in VALID], abs=1.1e-6)
    assert all(-0.1 < value < 0 for value in found)


def test_outside_its_validity_it_is_null(tmp_path: Path) -> None:
    found = zero_points(tmp_path, [*INVALID, VALID[0]])["parallax_zero_point"]
    assert found.is_null().to_pylist() == [True] * len(INVALID) + [False]
    assert zero_points(tmp_path, INVALID[4:5])["parallax_zero_point"].to_pylist() == [None]


def test_a_colour_that_the_solution_does_not_use_is_not_missed(tmp_path: Path) -> None:
    found = zero_points(tmp_path, [*VALID, (10.0, None, None, 20.0, 3), (10.0, None, 1.4, 20.0, 31)])
    assert found["auxiliary_missing"].to_pylist() == [0, 0, 0, 2, 1]


def test_g_may_be_the_surveys_own_and_nothing_is_computed_from_a_part(tmp_path: Path) -> None:
    star = {"source_id": [1], "nu": [1.5], "pc": [1.4], "lat": [20.0], "solved": [31]}
    path = parquet(tmp_path / "t.parquet", star)
    tables = open_tables([asked(path, columns=GAIA)], COLUMNS)
    assert join(spectra([1], phot_g_mean_mag=[10.0]), tables)["parallax_zero_point"].null_count == 0
    assert published_columns(tables)[-1].name == "parallax_zero_point"
    part = open_tables([asked(path, columns={"pseudocolour": "pc"})], COLUMNS)
    assert "parallax_zero_point" not in join(spectra([1]), part).column_names
