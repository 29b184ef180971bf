"""Tables that users bring: every kind of array, ids that stay exact, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.errors import PlanError, ShardCorrupt, ShardError
from engine.prepare.gather import gather
from engine.spec import SurveySpec, TableColumns
from engine.surveys.survey import Survey
from engine.surveys.table import EXAMPLE, TABLE, configure
from engine.types import Grid, Task
from tests.unit.wcs_files import array, damage

PIXELS = 16
IDS = [2**53 + 1, 2**62 + 3, 5, 7, -1]
FLUX = np.arange(5 * PIXELS, dtype=np.float32).reshape(5, PIXELS) % 100
SIGMA = np.full((5, PIXELS), 0.5, np.float32)
GRIDDED = {
    "error": "sigma",
    "grid": (5000.0, 0.5),
    "pixels": PIXELS,
    "frame": "rest",
    "medium": "air",
}
OWN = {"error": "sigma", "wave": "wave", "span": (5000.0, 5010.0), "pixels": PIXELS} | {
    "frame": "observed",
    "medium": "air",
}


def lists(values: Any, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array([None if row is None else list(row) for row in values], kind or pa.list_(pa.float32()))


def contents(**columns: Any) -> pa.Table:
    """Five rows; a column that is None is left out."""
    usual = {"id": pa.array(IDS), "flux": lists(FLUX), "sigma": lists(SIGMA)}
    return pa.table({name: values for name, values in (usual | columns).items() if values is not None})


def write(root: Path, table: pa.Table, form: str = "parquet", name: str = "stars", **how: Any) -> Path:
    path = root / f"{name}.{form}"
    if form == "parquet":
        pq.write_table(table, path, **how)
    else:
        pyarrow.feather.write_feather(table, str(path), **how)
    return path


def survey_of(root: Path, table: dict[str, Any]) -> tuple[Survey, SurveySpec]:
    spec = SurveySpec.model_validate(
        {"name": "table", "root": str(root), "select": {"by": "all"}, "table": table}
    )
    return configure(spec), spec


def read(root: Path, table: dict[str, Any] | None = None, cut: tuple[int, int] | None = None) -> pa.Table:
    survey, spec = survey_of(root, table or GRIDDED)
    [shard] = survey.list_shards(spec)
    start, stop = cut or (0, shard.rows)
    return survey.read(spec, Task(task_id="t", shard=shard, start=start, stop=stop))


@pytest.mark.parametrize("form", ["parquet", "feather", "arrow", "ipc"])
def test_rows_are_those_of_the_file(tmp_path: Path, form: str) -> None:
    write(tmp_path, contents(), form)
    found = read(tmp_path)
    assert found["id"].to_pylist() == IDS
    np.testing.assert_array_equal(array(found, "flux_table"), FLUX)
    assert set(array(found, "ivar_table").ravel()) == {4.0}
    assert not array(found, "mask_table").any()
    assert found["ra"].null_count == found["rv"].null_count == found["gaia_source_id"].null_count == 5


def tensor(values: np.ndarray) -> pa.Array:
    return pa.FixedShapeTensorArray.from_numpy_ndarray(values)


KINDS = {
    "list of float16": lists(FLUX.astype(np.float16), pa.list_(pa.float16())),
    "list of float64": lists(FLUX, pa.list_(pa.float64())),
    "large list": lists(FLUX, pa.large_list(pa.float32())),
    "fixed-size list": lists(FLUX, pa.list_(pa.float32(), PIXELS)),
    "tensor": tensor(FLUX),
    "integers": lists(FLUX.astype(int), pa.list_(pa.int16())),
}


@pytest.mark.parametrize("form", ["parquet", "feather"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_array_is_read(tmp_path: Path, kind: str, form: str) -> None:
    write(tmp_path, contents(flux=KINDS[kind]), form)
    np.testing.assert_array_equal(array(read(tmp_path), "flux_table"), FLUX)


@pytest.mark.parametrize("form", ["parquet", "feather"])
def test_row_ranges_join_up_over_row_groups(tmp_path: Path, form: str) -> None:
    how: Any = {"row_group_size": 2} if form == "parquet" else {"chunksize": 2}
    write(tmp_path, contents(), form, **how)
    whole = read(tmp_path)
    for start in range(5):
        for stop in range(start + 1, 6):
            part = read(tmp_path, cut=(start, stop))
            assert part["id"].to_pylist() == IDS[start:stop]
            np.testing.assert_array_equal(array(part, "flux_table"), FLUX[start:stop])
            assert part["row_in_shard"].to_pylist() == whole["row_in_shard"].to_pylist()[start:stop]


@pytest.mark.parametrize("fixed", [None, pa.list_(pa.float32(), PIXELS)])
@pytest.mark.parametrize("column", ["flux", "sigma", "wave"])
def test_a_row_without_arrays_has_no_good_pixel(
    tmp_path: Path, column: str, fixed: pa.DataType | None
) -> None:
    wave = np.broadcast_to(5000 + 0.5 * np.arange(PIXELS, dtype=np.float32), FLUX.shape)
    full = {"flux": FLUX, "sigma": SIGMA, "wave": wave}
    columns = {name: lists(values) for name, values in full.items()}
    columns[column] = lists([None if k == 1 else row for k, row in enumerate(full[column])], fixed)
    write(tmp_path, contents(**columns))
    survey, _ = survey_of(tmp_path, OWN)
    found = read(tmp_path, OWN)
    assert array(found, "mask_table").any(axis=1).tolist() == [False, True, False, False, False]
    assert array(found, "ivar_table").any(axis=1).tolist() == [True, False, True, True, True]
    grid = Grid(start=5001.0, step=0.5, pixels=10)
    gathered = gather(found, survey.spectrograph, grid, "air", rest=False)
    assert gathered.ivar_NP.any(axis=1).tolist() == [True, False, True, True, True]


def test_missing_elements_and_bad_errors_have_no_weight(tmp_path: Path) -> None:
    flux: Any = FLUX.tolist()
    sigma: Any = SIGMA.tolist()
    flux[0][3], sigma[1][4], sigma[2][5], sigma[3][6] = None, 0.0, float("nan"), None
    write(tmp_path, contents(flux=lists(flux), sigma=lists(sigma)))
    found = read(tmp_path)
    assert np.isnan(array(found, "flux_table")[0, 3])
    assert np.argwhere(array(found, "ivar_table") == 0).tolist() == [[1, 4], [2, 5], [3, 6]]


def test_ivar_and_masks_of_any_width(tmp_path: Path) -> None:
    mask = np.zeros((5, PIXELS), np.int64)
    mask[0, 1], mask[1, 2] = 1 << 40, 6
    table = contents(sigma=None, ivar=lists(SIGMA), bits=lists(mask, pa.list_(pa.int64())))
    write(tmp_path, table)
    columns = {k: v for k, v in GRIDDED.items() if k != "error"} | {"ivar": "ivar", "mask": "bits"}
    found = read(tmp_path, columns)
    np.testing.assert_array_equal(array(found, "ivar_table"), SIGMA)
    assert {
        (int(n), int(p)): int(array(found, "mask_table")[n, p])
        for n, p in np.argwhere(array(found, "mask_table"))
    } == {(0, 1): 1, (1, 2): 6}


def test_our_scalars_are_taken_over_and_missing_is_null(tmp_path: Path) -> None:
    nan = float("nan")
    write(
        tmp_path,
        contents(
            lon=pa.array([10.0, nan, 12.0, None, 14.0]),
            dec=pa.array([1.0, 2.0, 3.0, 4.0, 5.0]),
            gaia_source_id=pa.array([2**60 + 1, None, 3, 4, 5]),
            rv=pa.array([1.5, nan, float("inf"), None, -3.0], pa.float64()),
            parallax=pa.nulls(5),
            row_in_shard=pa.array([9] * 5),
        ),
    )
    found = read(tmp_path, GRIDDED | {"ra": "lon"})
    assert found["ra"].to_pylist() == [10, None, 12, None, 14]
    assert found["position_source"].to_pylist() == ["survey", None, "survey", None, "survey"]
    assert found["gaia_source_id"].to_pylist() == [2**60 + 1, None, 3, 4, 5]
    assert found["rv"].to_pylist() == [1.5, None, None, None, -3.0]
    assert found["rv_source"].to_pylist() == ["survey", None, None, None, "survey"]
    assert found["parallax"].null_count == 5
    assert found["row_in_shard"].to_pylist() == [0, 1, 2, 3, 4]


def test_text_ids_and_integers_as_text(tmp_path: Path) -> None:
    for folder, ids in (("a", pa.array(list("vwxyz")).dictionary_encode()), ("b", pa.array(IDS))):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, contents(id=ids))
    assert read(tmp_path / "a", GRIDDED | {"id_type": "text"})["id"].to_pylist() == list("vwxyz")
    assert read(tmp_path / "b", GRIDDED | {"id_type": "text"})["id"].to_pylist() == [str(i) for i in IDS]


def test_the_survey_is_what_the_spec_says(tmp_path: Path) -> None:
    survey, _ = survey_of(tmp_path, GRIDDED)
    assert survey.arms[0].grid == Grid(start=5000, step=0.5, pixels=PIXELS)
    assert (survey.frame, survey.medium) == ("rest", "air")
    logarithmic = GRIDDED | {"grid": (3.7, 1e-5), "spacing": "log10"}
    grid = survey_of(tmp_path, logarithmic)[0].arms[0].grid
    assert isinstance(grid, Grid)
    assert grid.spacing == "log10"


RAGGED = [row[: PIXELS - (k == 3)] for k, row in enumerate(FLUX)]
WAVE = [5000 + 0.5 * np.arange(PIXELS)] * 5


@pytest.mark.parametrize("form", ["parquet", "feather"])
@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"flux": None}, "no single column flux; there are: id, sigma"),
        ({"flux": lists(RAGGED)}, "row 3 of its piece with 15 values; expected 16"),
        ({"flux": lists([[1.0] * 17] * 5)}, "expected .*16"),
        ({"flux": lists([[1.0] * 100_000, *FLUX[1:]])}, "expected .*16"),
        ({"flux": pa.array(["1,2"] * 5)}, "expected arrays of numbers"),
        ({"flux": lists([["a"] * PIXELS] * 5, pa.list_(pa.string()))}, "expected arrays of numbers"),
        ({"flux": pa.array([1.0] * 5)}, "expected arrays of numbers"),
        ({"id": pa.array([1.0] * 5)}, "floats hold no exact ids"),
        ({"id": pa.array(list("vwxyz"))}, "id_type"),
        ({"id": pa.array([1, None, 3, 4, 5])}, "1 NULLs"),
        ({"gaia_source_id": pa.array([1.0] * 5)}, "floats hold no exact ids"),
        ({"ra": pa.array(["north"] * 5)}, "north"),
        ({"medium": pa.array(["air", "air", "vac", "air", "air"])}, "'vac', expected air"),
    ],
)
def test_a_wrong_table_is_corrupt_and_says_why(
    tmp_path: Path, form: str, wrong: dict[str, Any], complaint: str
) -> None:
    path = write(tmp_path, contents(**wrong), form)
    with pytest.raises(ShardCorrupt, match=f"{path.name}.*{complaint}"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("wave", "about", "complaint"),
    [
        ([w / 10 for w in WAVE], {}, "500 to 500.75.*span"),
        ([w[::-1] for w in WAVE], {}, "do not ascend"),
        (WAVE, {"medium": "vacuum"}, "'vacuum', expected air"),
        (WAVE, {"unit": "nm"}, "'nm', expected Angstrom"),
        (WAVE, {"unit": "parsnip"}, "'parsnip', expected Angstrom"),
    ],
)
def test_wavelengths_that_contradict_the_spec_are_refused(
    tmp_path: Path, wave: Any, about: dict[str, str], complaint: str
) -> None:
    table = contents(wave=lists(wave, pa.list_(pa.float64())))
    field = table.schema.field("wave").with_metadata(about)
    write(tmp_path, table.cast(table.schema.set(3, field)))
    with pytest.raises(ShardCorrupt, match=complaint):
        read(tmp_path, OWN)


def test_a_short_row_ends_in_nan_and_agreeing_metadata_are_welcome(tmp_path: Path) -> None:
    wave = np.array(WAVE)
    wave[2, 10:] = np.nan
    table = contents(wave=lists(wave, pa.list_(pa.float64())), medium=pa.array(["AIR"] * 5))
    field = table.schema.field("wave").with_metadata({"unit": "Angstrom", "medium": "air"})
    write(tmp_path, table.cast(table.schema.set(3, field)))
    np.testing.assert_array_equal(array(read(tmp_path, OWN), "wave_table"), wave)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"ARROW1\0\0", b"id,flux\n1,2\n" * 50])
@pytest.mark.parametrize("form", ["parquet", "feather"])
def test_what_is_no_table_is_listed_with_its_problem(tmp_path: Path, content: bytes, form: str) -> None:
    path = tmp_path / f"a.{form}"
    path.write_bytes(content)
    with pytest.raises(ShardCorrupt, match=path.name):
        read(tmp_path)


def test_without_its_section_the_plan_says_what_to_write(tmp_path: Path) -> None:
    spec = SurveySpec.model_validate({"name": "table", "root": str(tmp_path)})
    with pytest.raises(PlanError, match=r"\[survey\.table\]"):
        configure(spec)
    assert TABLE.configure is configure


def test_the_example_is_a_sound_spec() -> None:
    import tomllib

    spec = SurveySpec.model_validate(tomllib.loads(EXAMPLE)["survey"])
    assert spec.table is not None


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ivar": "ivar"}, "either ivar or error"),
        ({"error": None}, "either ivar or error"),
        ({"grid": None}, "either wave"),
        ({"wave": "wave", "span": (1.0, 2.0)}, "either wave"),
        ({"span": (1.0, 2.0)}, "span"),
        ({"grid": None, "wave": "wave"}, "span"),
        ({"grid": None, "wave": "wave", "span": (2.0, 1.0)}, "ascend"),
        ({"grid": (5000.0, -1.0)}, "positive"),
        ({"spacing": "log10"}, "log10"),
        ({"pixels": 2**21}, "pixels"),
    ],
)
def test_a_section_that_contradicts_itself_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TableColumns.model_validate(GRIDDED | change)


@pytest.mark.parametrize("form", ["parquet", "feather"])
@given(st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 255)), max_size=8), st.floats(0.3, 1))
@settings(max_examples=60)
def test_damaged_bytes_end_in_a_shard_error_or_in_rows(
    tmp_path_factory: pytest.TempPathFactory, form: str, cuts: list[tuple[int, int]], keep: float
) -> None:
    root = tmp_path_factory.mktemp("damaged")
    path = write(root, contents(), form)
    path.write_bytes(damage(path.read_bytes(), cuts, keep if len(cuts) % 2 else 1.0))
    try:
        read(root)
    except ShardError as error:
        assert path.name in str(error)
