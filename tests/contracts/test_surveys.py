"""What every registered survey must keep."""

import pickle
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from engine.columns import schema
from engine.errors import PlanError, ShardError
from engine.prepare.coadd import union_grid
from engine.spec import SurveySpec
from engine.surveys import SURVEYS
from engine.surveys.survey import Survey
from engine.types import Shard, Task


@pytest.fixture(params=SURVEYS)
def survey(request: pytest.FixtureRequest) -> Survey:
    return SURVEYS[request.param]


@pytest.fixture
def spec(survey: Survey, survey_root: Path) -> SurveySpec:
    """All rows of the simulated survey of this kind."""
    return SurveySpec.model_validate({"name": survey.name, "root": survey_root, "select": {"by": "all"}})


@pytest.fixture
def shards(survey: Survey, spec: SurveySpec) -> list[Shard]:
    return list(survey.list_shards(spec))


def whole(shard: Shard) -> Task:
    return Task(task_id="whole", shard=shard, start=0, stop=shard.rows)


def test_it_is_registered_under_its_name_and_described(survey: Survey) -> None:
    assert SURVEYS[survey.name] is survey
    assert re.fullmatch(r"[a-z][a-z0-9_]*", survey.name)
    assert survey.title
    assert survey.reference


def test_its_columns_are_unique_and_described(survey: Survey) -> None:
    names = [column.name for column in survey.columns]
    assert len(names) == len(set(names))
    assert all(column.description and column.name.islower() for column in survey.columns)
    assert survey.keys


def test_its_arms_share_a_grid(survey: Survey) -> None:
    assert union_grid(survey.arms).pixels > 0


def test_listing_is_sorted_stable_and_relative(survey: Survey, spec: SurveySpec, shards: list[Shard]) -> None:
    assert shards
    assert [s.path for s in shards] == sorted(s.path for s in shards)
    assert shards == list(survey.list_shards(spec))
    assert not any(Path(s.path).is_absolute() or s.problem for s in shards)
    assert len({s.shard_id for s in shards}) == len(shards)
    assert pickle.loads(pickle.dumps(shards)) == shards


def test_a_batch_has_exactly_the_declared_columns(
    survey: Survey, spec: SurveySpec, shards: list[Shard]
) -> None:
    batch = survey.read(spec, whole(shards[0]))
    assert batch.schema.equals(schema(survey.columns))
    assert len(batch) == shards[0].rows
    assert batch["row_in_shard"].to_pylist() == list(range(shards[0].rows))


def test_row_ranges_join_up_to_the_whole(survey: Survey, spec: SurveySpec, shards: list[Shard]) -> None:
    shard = shards[0]
    cuts = [0, 1, shard.rows // 3, shard.rows]
    parts = [survey.read(spec, Task(task_id="part", shard=shard, start=a, stop=b)) for a, b in pairwise(cuts)]
    assert pa.concat_tables(parts).combine_chunks().equals(survey.read(spec, whole(shard)).combine_chunks())


def test_ids_without_arrays_are_those_of_the_rows(
    survey: Survey, spec: SurveySpec, shards: list[Shard]
) -> None:
    ids = survey.read_ids(spec, whole(shards[0]))
    batch = survey.read(spec, whole(shards[0]))
    for key in (*survey.keys, *(c for c in survey.columns if c.name in ("ra", "dec", "row_in_shard"))):
        assert ids[key.name].to_pylist() == batch[key.name].to_pylist()
    assert not any(name.startswith(("flux_", "ivar_", "mask_")) for name in ids.column_names)


def test_keys_are_unique_over_the_survey(survey: Survey, spec: SurveySpec, shards: list[Shard]) -> None:
    ids = pa.concat_tables([survey.read_ids(spec, whole(shard)) for shard in shards])
    keys = list(zip(*(ids[key.name].to_pylist() for key in survey.keys), strict=True))
    assert len(keys) == len(set(keys)) == sum(shard.rows for shard in shards)


def test_missing_is_null_and_never_nan_or_zero(survey: Survey, spec: SurveySpec, shards: list[Shard]) -> None:
    ids = pa.concat_tables([survey.read_ids(spec, whole(shard)) for shard in shards])
    for name in ("phot_g_mean_mag", "parallax", "rv"):
        known = ids[name].drop_null().to_numpy()
        assert np.isfinite(known).all()
    assert ids["gaia_source_id"].null_count > 0
    assert (ids["phot_g_mean_mag"].drop_null().to_numpy() > 0).all()


def test_a_broken_file_is_listed_with_its_problem_and_fails_as_a_shard(
    survey: Survey, spec: SurveySpec, tmp_path: Path, survey_root: Path
) -> None:
    source = min(survey_root.rglob("coadd-*.fits"))
    target = tmp_path / source.relative_to(survey_root)
    target.parent.mkdir(parents=True)
    target.write_bytes(source.read_bytes()[:200_000])
    here = spec.model_copy(update={"root": str(tmp_path)})
    [shard] = survey.list_shards(here)
    assert shard.problem
    with pytest.raises(ShardError, match=target.name):
        survey.read(here, whole(shard))
    survey.read_ids(here, whole(shard))


def test_a_folder_without_its_files_is_a_plan_error(survey: Survey, spec: SurveySpec, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=str(tmp_path)):
        list(survey.list_shards(spec.model_copy(update={"root": str(tmp_path)})))
